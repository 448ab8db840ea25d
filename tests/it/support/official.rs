//! Twilio's own Python helper, as a process that signs what it is given.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::json;

const SCRIPT: &str = "
import json, sys
from twilio.request_validator import RequestValidator

class Form(dict):
    def getlist(self, name):
        return self[name]

for line in sys.stdin:
    token, url, fields = json.loads(line)
    form = Form()
    for name, value in fields:
        form.setdefault(name, []).append(value)
    print(RequestValidator(token).compute_signature(url, form), flush=True)
";

/// The running helper. Killed when dropped.
pub(crate) struct Official {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Official {
    /// Starts it with the Python that `./test` prepared.
    pub(crate) fn start() -> Self {
        let python = std::env::var("STROWGER_TEST_PYTHON").expect("run the tests with ./test: it installs the helper");
        let mut child = Command::new(python)
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python with the twilio package");
        let (stdin, stdout) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, stdin, stdout }
    }

    /// The signature that Twilio would put on a request.
    pub(crate) fn sign(&mut self, token: &str, url: &str, fields: &[(String, String)]) -> String {
        writeln!(self.stdin, "{}", json!([token, url, fields])).unwrap();
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the helper ended");
        line.trim_end().to_owned()
    }
}

impl Drop for Official {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
