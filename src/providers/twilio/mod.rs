//! Twilio's REST API: subaccounts, and the numbers of an account.
//!
//! What may be repeated is repeated (looking, setting, giving up); what creates or buys is sent once. When its answer is lost,
//! [`TwilioError::may_have_happened`] says so, and whoever asked looks for what there is before asking again.
//!
//! What a newcomer gets wrong: Twilio's own words stand in [`TwilioError::Refused`] but not in its `Display`. They are for the
//! operator at the terminal; where a caller's number was in the request, they may quote it.

mod answer;

use std::time::Duration;

use form_urlencoded::Serializer;
use http::{Method, Request, StatusCode, header};
use hyper::body::Bytes;
use serde::{Deserialize, Serialize};

pub use self::answer::TwilioError;
use self::answer::{accepted, read};
use super::http::{self as client, Answer, Http};
use crate::id::{AccountSid, Region};
use crate::vault::Secret;

/// Where Twilio is, unless an operator says otherwise.
pub const BASE_URL: &str = "https://api.twilio.com";

/// An account or subaccount, and what opens it.
pub struct Account<'a> {
    /// Connections to Twilio.
    pub http: &'a Http,
    /// Without a slash at its end.
    pub base_url: &'a str,
    /// Its name at Twilio.
    pub sid: &'a AccountSid,
    /// Its auth token.
    pub token: &'a Secret,
    /// How long one call may take.
    pub within: Duration,
}

/// A subaccount, as Twilio tells it to its owner.
pub struct Subaccount {
    /// Its name at Twilio.
    pub sid: AccountSid,
    /// Its auth token.
    pub token: Secret,
}

/// What kind of number is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Of a place.
    Local,
    /// Free for who calls.
    TollFree,
    /// Of a mobile network.
    Mobile,
}

impl Kind {
    fn as_path(self) -> &'static str {
        match self {
            Self::Local => "Local",
            Self::TollFree => "TollFree",
            Self::Mobile => "Mobile",
        }
    }
}

/// Which numbers are looked for.
#[derive(Debug)]
pub struct Search<'a> {
    /// Of which country.
    pub country: Region,
    /// Of which kind.
    pub kind: Kind,
    /// North America only.
    pub area_code: Option<u16>,
    /// Digits, letters as on a telephone's keys, and `*` for any digit.
    pub contains: Option<&'a str>,
    /// How many at most.
    pub limit: u16,
}

/// A number that can be bought.
#[derive(Debug, Clone, Deserialize)]
pub struct Available {
    /// In E.164.
    pub phone_number: String,
    /// The town, where it has one.
    pub locality: Option<String>,
    /// The state or province.
    pub region: Option<String>,
    /// What it can do.
    #[serde(default)]
    pub capabilities: Capabilities,
    /// `none`, or which address Twilio wants to know before it sells the number.
    #[serde(default)]
    pub address_requirements: Option<String>,
}

/// What a number can do.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub struct Capabilities {
    /// Take calls.
    #[serde(default)]
    pub voice: bool,
    /// Take text messages. Twilio writes it in capitals.
    #[serde(default, rename = "SMS")]
    pub sms: bool,
}

/// Where Twilio asks what to do with a number's calls and messages; always by POST.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Webhooks {
    /// When it is called.
    pub voice_url: String,
    /// When a call of its changes.
    pub status_callback: String,
    /// When a text message comes.
    pub sms_url: String,
}

impl Webhooks {
    fn fields(&self) -> [(&'static str, &str); 6] {
        [
            ("VoiceUrl", &self.voice_url),
            ("VoiceMethod", "POST"),
            ("StatusCallback", &self.status_callback),
            ("StatusCallbackMethod", "POST"),
            ("SmsUrl", &self.sms_url),
            ("SmsMethod", "POST"),
        ]
    }
}

/// A number that the account has.
#[derive(Debug, Deserialize)]
pub struct Owned {
    sid: String,
    phone_number: String,
    voice_url: Option<String>,
    voice_method: Option<String>,
    status_callback: Option<String>,
    status_callback_method: Option<String>,
    sms_url: Option<String>,
    sms_method: Option<String>,
    voice_application_sid: Option<String>,
    sms_application_sid: Option<String>,
}

impl Owned {
    /// Whether Twilio asks there and nowhere else. An application, where one is set, is asked instead of the URLs.
    pub fn is_set_to(&self, hooks: &Webhooks) -> bool {
        let posts = |url: &Option<String>, method: &Option<String>, to: &str| {
            url.as_deref() == Some(to) && method.as_deref() == Some("POST")
        };
        let none = |sid: &Option<String>| sid.as_deref().unwrap_or_default().is_empty();
        posts(&self.voice_url, &self.voice_method, &hooks.voice_url)
            && posts(&self.status_callback, &self.status_callback_method, &hooks.status_callback)
            && posts(&self.sms_url, &self.sms_method, &hooks.sms_url)
            && none(&self.voice_application_sid)
            && none(&self.sms_application_sid)
    }
}

type Fields<'a> = &'a [(&'a str, &'a str)];

impl Account<'_> {
    /// Makes a subaccount. Two of one name are possible.
    pub async fn create_subaccount(&self, friendly_name: &str) -> Result<Subaccount, TwilioError> {
        let request = self.request(Method::POST, "Accounts.json", &[("FriendlyName", friendly_name)])?;
        read::<ToldAccount>(&self.once(&request).await?)?.try_into()
    }

    /// The subaccount of exactly that name which is not closed; the oldest one if there are several.
    pub async fn subaccount(&self, friendly_name: &str) -> Result<Option<Subaccount>, TwilioError> {
        let page: Accounts = self.get("Accounts.json", &[("FriendlyName", friendly_name), ("PageSize", "100")]).await?;
        let mut named = page.accounts;
        named.retain(|told| told.friendly_name == friendly_name && told.status != "closed");
        // Twilio lists the newest first.
        named.pop().map(TryInto::try_into).transpose()
    }

    /// Closes this account, with its numbers, for ever. Its owner's token is needed, or its own.
    pub async fn close(&self) -> Result<(), TwilioError> {
        let path = format!("Accounts/{}.json", self.sid);
        let request = self.request(Method::POST, &path, &[("Status", "closed")])?;
        self.repeatable(&request).await.map(drop)
    }

    /// Numbers that can be bought.
    pub async fn search(&self, what: &Search<'_>) -> Result<Vec<Available>, TwilioError> {
        let path = self.path(&format!("AvailablePhoneNumbers/{}/{}", what.country, what.kind.as_path()));
        let (limit, area_code) = (what.limit.to_string(), what.area_code.map(|code| code.to_string()));
        let mut fields = vec![("PageSize", limit.as_str())];
        fields.extend(area_code.as_deref().map(|code| ("AreaCode", code)));
        fields.extend(what.contains.map(|pattern| ("Contains", pattern)));
        let page: AvailableNumbers = self.get(&path, &fields).await?;
        let mut found = page.available_phone_numbers;
        found.truncate(what.limit.into());
        Ok(found)
    }

    /// Buys a number, its webhooks set from the first moment.
    pub async fn buy(&self, number: &str, hooks: &Webhooks) -> Result<Owned, TwilioError> {
        let fields = [&[("PhoneNumber", number)], &hooks.fields()[..]].concat();
        let request = self.request(Method::POST, &self.path("IncomingPhoneNumbers"), &fields)?;
        read(&self.once(&request).await?)
    }

    /// The number, if the account has it.
    pub async fn owned(&self, number: &str) -> Result<Option<Owned>, TwilioError> {
        let page: OwnedNumbers = self.get(&self.path("IncomingPhoneNumbers"), &[("PhoneNumber", number)]).await?;
        // Twilio takes the filter for a pattern.
        Ok(page.incoming_phone_numbers.into_iter().find(|owned| owned.phone_number == number))
    }

    /// Sets a number's webhooks, and takes away applications that would be asked instead.
    pub async fn configure(&self, owned: &Owned, hooks: &Webhooks) -> Result<(), TwilioError> {
        let fields = [&hooks.fields()[..], &[("VoiceApplicationSid", ""), ("SmsApplicationSid", "")]].concat();
        let path = self.path(&format!("IncomingPhoneNumbers/{}", owned.sid));
        let request = self.request(Method::POST, &path, &fields)?;
        self.repeatable(&request).await.map(drop)
    }

    /// Gives a number back to Twilio; anybody may buy it then. One that is gone already is no error.
    pub async fn release(&self, owned: &Owned) -> Result<(), TwilioError> {
        let path = self.path(&format!("IncomingPhoneNumbers/{}", owned.sid));
        match self.repeatable(&self.request(Method::DELETE, &path, &[])?).await {
            Err(TwilioError::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(()),
            other => other.map(drop),
        }
    }

    fn path(&self, what: &str) -> String {
        format!("Accounts/{}/{what}.json", self.sid)
    }

    async fn get<T: for<'a> Deserialize<'a>>(&self, path: &str, fields: Fields<'_>) -> Result<T, TwilioError> {
        let query = Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self.request(Method::GET, &format!("{path}?{query}"), &[])?;
        read(&self.repeatable(&request).await?)
    }

    fn request(&self, method: Method, path: &str, form: Fields<'_>) -> Result<Request<Bytes>, TwilioError> {
        let login = client::basic(self.sid.as_str(), self.token).ok_or(TwilioError::Unsendable("auth token"))?;
        let body = Serializer::new(String::new()).extend_pairs(form).finish();
        Request::builder()
            .method(method)
            .uri(format!("{}/2010-04-01/{path}", self.base_url))
            .header(header::AUTHORIZATION, login)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json")
            .body(Bytes::from(body))
            .map_err(|_| TwilioError::Unsendable("base URL"))
    }

    async fn repeatable(&self, request: &Request<Bytes>) -> Result<Answer, TwilioError> {
        accepted(self.http.send(request, self.within).await?)
    }

    async fn once(&self, request: &Request<Bytes>) -> Result<Answer, TwilioError> {
        accepted(self.http.send_once(request, self.within).await?)
    }
}

#[derive(Deserialize)]
struct Accounts {
    accounts: Vec<ToldAccount>,
}

#[derive(Deserialize)]
struct ToldAccount {
    sid: String,
    auth_token: String,
    friendly_name: String,
    status: String,
}

impl TryFrom<ToldAccount> for Subaccount {
    type Error = TwilioError;
    fn try_from(told: ToldAccount) -> Result<Self, TwilioError> {
        let token = Secret::new(told.auth_token.into_bytes());
        let sid = told.sid.parse().map_err(|_| TwilioError::Garbage("an account"))?;
        Ok(Self { sid, token })
    }
}

#[derive(Deserialize)]
struct AvailableNumbers {
    available_phone_numbers: Vec<Available>,
}

#[derive(Deserialize)]
struct OwnedNumbers {
    incoming_phone_numbers: Vec<Owned>,
}
