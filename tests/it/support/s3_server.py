"""moto's S3 over HTTP, with signatures checked. Reads commands as lines of JSON, answers each with one."""
import base64, datetime, json, os, sys, threading

# What sets it up is not checked; everything after it is.
os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = "3"
import boto3
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

BUCKET = "backups"
held, came = threading.Event(), threading.Event()
held.set()


def application(environ, answer):
    reading = environ["REQUEST_METHOD"] == "GET" and environ["PATH_INFO"].endswith("/data")
    if "partNumber" in environ["QUERY_STRING"] or reading:
        came.set()
        held.wait()
    return moto(environ, answer)


class Quiet(WSGIRequestHandler):
    def log_request(self, *_):
        pass


moto = DomainDispatcherApplication(create_backend_app)
server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Quiet)
threading.Thread(target=server.serve_forever, daemon=True).start()
port = server.server_port


def client(service, key="nobody", secret="nobody"):
    names = {"aws_access_key_id": key, "aws_secret_access_key": secret, "region_name": "us-east-1"}
    return boto3.client(service, endpoint_url=f"http://127.0.0.1:{port}", **names)


iam = client("iam")
iam.create_user(UserName="strowger")
allowed = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
iam.put_user_policy(UserName="strowger", PolicyName="s3", PolicyDocument=json.dumps(allowed))
key = iam.create_access_key(UserName="strowger")["AccessKey"]
s3 = client("s3", key["AccessKeyId"], key["SecretAccessKey"])
s3.create_bucket(Bucket=BUCKET)
print(json.dumps([port, key["AccessKeyId"], key["SecretAccessKey"]]), flush=True)

for line in sys.stdin:
    command, *args = json.loads(line)
    said = None
    if command == "keys":
        said = [found["Key"] for found in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]
    elif command == "uploads":
        said = len(s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []))
    elif command == "get":
        said = base64.b64encode(s3.get_object(Bucket=BUCKET, Key=args[0])["Body"].read()).decode()
    elif command == "put":
        s3.put_object(Bucket=BUCKET, Key=args[0], Body=base64.b64decode(args[1]))
    elif command == "delete":
        s3.delete_object(Bucket=BUCKET, Key=args[0])
    elif command == "age":
        keys = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[BUCKET].keys
        for name in list(keys):
            keys[name].last_modified -= datetime.timedelta(days=2)
    elif command == "hold data":
        came.clear()
        held.clear()
    elif command == "wait for data":
        came.wait(120)
    elif command == "let data go":
        held.set()
    print(json.dumps(said), flush=True)
