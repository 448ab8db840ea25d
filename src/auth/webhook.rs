//! Webhooks of providers: nothing in one is believed before its signature holds.
//!
//! [`Unverified`] gives out only the account it claims, to look up whose token to check with. [`Verified`] gives out the
//! rest. The one way from the first to the second is [`Unverified::verify`].

use aws_lc_rs::{constant_time, digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::AuthError;
use crate::id::AccountSid;
use crate::vault::Secret;

/// Where the provider thinks it calls us: from configuration, never from a header.
#[derive(Debug, Clone)]
pub struct PublicUrl {
    scheme: String,
    host: String,
    port: Option<u16>,
    /// Before every path, without a slash at its end.
    base: String,
}

impl std::str::FromStr for PublicUrl {
    type Err = crate::id::InvalidId;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bad = crate::id::InvalidId(
            "a public URL is http:// or https://, a host, an optional port and path, and no query",
        );
        let uri: http::Uri = s.parse().map_err(|_| bad.clone())?;
        let (Some(scheme @ ("http" | "https")), Some(host), None) = (uri.scheme_str(), uri.host(), uri.query()) else {
            return Err(bad);
        };
        Ok(Self {
            scheme: scheme.to_owned(),
            host: host.to_owned(),
            port: uri.port_u16(),
            base: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

impl std::fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))?;
        f.write_str(&self.base)
    }
}

impl PublicUrl {
    /// The URL of a request as the provider may have signed it: with its port, and without.
    fn candidates(&self, path_and_query: &str) -> [String; 2] {
        let port = self.port.unwrap_or(if self.scheme == "https" { 443 } else { 80 });
        let Self { scheme, host, base, .. } = self;
        [format!("{scheme}://{host}{base}{path_and_query}"), format!("{scheme}://{host}:{port}{base}{path_and_query}")]
    }
}

/// The fields of a Twilio webhook, in the order received, untrimmed.
#[derive(Clone)]
pub struct TwilioForm(Vec<(String, String)>);

impl TwilioForm {
    fn field(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// A webhook as it came in.
pub struct Unverified<'a> {
    form: TwilioForm,
    account: AccountSid,
    path_and_query: &'a str,
    signature: &'a str,
    body: &'a [u8],
}

impl<'a> Unverified<'a> {
    /// Takes a request apart. `is_form`: the body is a form and its fields are signed; else its hash is in the query.
    pub fn twilio(
        path_and_query: &'a str,
        signature: Option<&'a str>,
        is_form: bool,
        body: &'a [u8],
    ) -> Result<Self, AuthError> {
        let signature = signature.ok_or(AuthError::Missing)?;
        let fields = if is_form { form_urlencoded::parse(body).into_owned().collect() } else { Vec::new() };
        let form = TwilioForm(fields);
        let account = form.field("AccountSid").unwrap_or_default();
        let account = account.parse().map_err(|_| AuthError::Invalid("no AccountSid of a Twilio account".into()))?;
        Ok(Self { form, account, path_and_query, signature, body })
    }

    /// The account it claims to come from: only to look up whose token to check with.
    pub fn claimed_account(&self) -> &AccountSid {
        &self.account
    }

    /// Checks the signature with the auth token of the claimed account.
    pub fn verify(self, public_url: &PublicUrl, token: &Secret) -> Result<Verified<TwilioForm>, AuthError> {
        let invalid = || AuthError::Invalid("the signature does not match".into());
        let signed = STANDARD.decode(self.signature).map_err(|_| invalid())?;
        let matches = |url: String| {
            constant_time::verify_slices_are_equal(&twilio_mac(token, &url, &self.form.0), &signed).is_ok()
        };
        if !public_url.candidates(self.path_and_query).into_iter().any(matches) {
            return Err(invalid());
        }
        if let Some(hash) = query_field(self.path_and_query, "bodySHA256")
            && !self.body_has_hash(&hash)
        {
            return Err(AuthError::Invalid("the body is not the one that was signed".into()));
        }
        Ok(Verified { content: self.form, account: self.account })
    }

    fn body_has_hash(&self, hex: &str) -> bool {
        let digest = digest::digest(&digest::SHA256, self.body);
        let expected = digest.as_ref().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        constant_time::verify_slices_are_equal(expected.as_bytes(), hex.to_ascii_lowercase().as_bytes()).is_ok()
    }
}

/// A webhook that was signed by the account it names.
pub struct Verified<T> {
    content: T,
    account: AccountSid,
}

impl<T> Verified<T> {
    /// The account that signed.
    pub fn account(&self) -> &AccountSid {
        &self.account
    }
}

impl Verified<TwilioForm> {
    /// A field by name; the first if it was sent more than once.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.content.field(name)
    }
}

fn query_field(path_and_query: &str, name: &str) -> Option<String> {
    let (_, query) = path_and_query.split_once('?')?;
    form_urlencoded::parse(query.as_bytes()).find(|(n, _)| n == name).map(|(_, value)| value.into_owned())
}

/// HMAC-SHA1 over the URL and the fields: by name, then each distinct value in order, as name and value.
fn twilio_mac(token: &Secret, url: &str, fields: &[(String, String)]) -> Vec<u8> {
    let mut sorted: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    sorted.sort_unstable();
    sorted.dedup();
    let text = sorted.into_iter().fold(url.to_owned(), |text, (name, value)| text + name + value);
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, token.expose());
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

/// The header a Twilio account puts on a request; for demonstrations and tests.
pub fn sign_twilio(token: &Secret, url: &str, fields: &[(String, String)]) -> String {
    STANDARD.encode(twilio_mac(token, url, fields))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const URL: &str = "https://mycompany.com/myapp.php?foo=1&bar=2";

    fn fields(text: &str) -> Vec<(String, String)> {
        text.split(' ').filter_map(|pair| pair.split_once('=')).map(|(n, v)| (n.into(), v.into())).collect()
    }

    fn signed(url: &str, text: &str) -> String {
        sign_twilio(&Secret::new(b"12345".to_vec()), url, &fields(text))
    }

    /// From the tests of Twilio's own Python helper.
    #[test]
    fn signatures_equal_those_of_the_official_helper() {
        let call = "CallSid=CA1234567890ABCDE Digits=1234 From=+14158675309 To=+18005551212 Caller=+14158675309";
        assert_eq!(signed(URL, call), "RSOYDt4T1cUTdK1PDd93/VVr8B8=");
        assert_eq!(signed(&URL.replace(".com/", ".com:443/"), call), "kvajT1Ptam85bY51eRf/AJRuM3w=");
        let hash = "&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620";
        assert_eq!(signed(&format!("{URL}{hash}"), ""), "a9nBmqA0ju/hNViExpshrM61xv4=");
        let several = "Sid=CA123 SidAccount=AC123 Digits=5678 Digits=1234 Digits=1234";
        assert_eq!(signed(URL, several), "IK+Dwps556ElfBT0I3Rgjkr1wJU=");
    }

    const ACCOUNT: &str = "AC00000000000000000000000000000001";

    fn verify(public: &str, path: &str, signed_url: &str, body: &str) -> Result<(), AuthError> {
        let token = Secret::new(b"12345".to_vec());
        let form: Vec<_> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
        let signature = sign_twilio(&token, signed_url, &form);
        let request = Unverified::twilio(path, Some(&signature), true, body.as_bytes())?;
        request.verify(&public.parse().unwrap(), &token).map(drop)
    }

    #[test]
    fn the_port_may_be_in_the_signed_url_or_not() {
        let body = format!("AccountSid={ACCOUNT}&To=%2B18005550100");
        for signed in ["https://a.example/call", "https://a.example:443/call"] {
            verify("https://a.example", "/call", signed, &body).unwrap();
        }
        for signed in ["https://a.example/call", "https://a.example:8443/call"] {
            verify("https://a.example:8443", "/call", signed, &body).unwrap();
        }
        verify("https://a.example/base/", "/call?x=1", "https://a.example/base/call?x=1", &body).unwrap();
        assert!(verify("https://a.example", "/call", "https://b.example/call", &body).is_err());
        assert!(verify("https://a.example", "/call", "http://a.example/call", &body).is_err());
    }

    #[test]
    fn a_json_body_is_held_to_the_hash_in_the_query() {
        let token = Secret::new(b"12345".to_vec());
        let body = br#"{"property": "value", "boolean": true}"#;
        let path = "/x?bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620";
        let request = |body| Unverified {
            form: TwilioForm(Vec::new()),
            account: ACCOUNT.parse().unwrap(),
            path_and_query: path,
            signature: "",
            body,
        };
        assert!(request(body.as_slice()).body_has_hash(&query_field(path, "bodySHA256").unwrap()));
        assert!(!request(b"{}").body_has_hash(&query_field(path, "bodySHA256").unwrap()));
        let signature = sign_twilio(&token, &format!("https://a.example{path}"), &[]);
        let tampered = Unverified { signature: &signature, ..request(b"{}") };
        assert!(tampered.verify(&"https://a.example".parse().unwrap(), &token).is_err());
    }

    #[test]
    fn public_urls_have_their_shape() {
        for bad in ["", "a.example", "ftp://a.example", "https://", "https://a.example/?q", "https://a b/"] {
            assert!(bad.parse::<PublicUrl>().is_err(), "{bad}");
        }
        assert_eq!("https://a.example:8443/x/".parse::<PublicUrl>().unwrap().to_string(), "https://a.example:8443/x");
    }

    proptest! {
        #[test]
        fn no_other_field_value_is_accepted(value in "\\PC{1,20}", other in "\\PC{1,20}") {
            prop_assume!(value != other);
            let token = Secret::new(b"12345".to_vec());
            let form = |v: &str| vec![("AccountSid".to_owned(), ACCOUNT.to_owned()), ("Body".to_owned(), v.to_owned())];
            let signature = sign_twilio(&token, "https://a.example/x", &form(&value));
            let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form(&other)).finish();
            let request = Unverified::twilio("/x", Some(&signature), true, body.as_bytes()).unwrap();
            prop_assert!(request.verify(&"https://a.example".parse().unwrap(), &token).is_err());
            let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form(&value)).finish();
            let request = Unverified::twilio("/x", Some(&signature), true, body.as_bytes()).unwrap();
            prop_assert!(request.verify(&"https://a.example".parse().unwrap(), &token).is_ok());
        }

        #[test]
        fn any_bytes_are_taken_apart_without_a_panic(body in proptest::collection::vec(any::<u8>(), 0..200), sig in "\\PC{0,40}") {
            let _ = Unverified::twilio("/x?bodySHA256=1", Some(&sig), true, &body)
                .and_then(|r| r.verify(&"https://a.example".parse().unwrap(), &Secret::new(b"t".to_vec())).map(drop));
        }
    }
}
