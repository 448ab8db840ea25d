//! The extractor that is the permission.
//!
//! `Authorized<R, In>` stands in a handler's signature. Before the handler runs: the token holds, it carries `R`'s scope,
//! the request reads as `In`, every `customer_id` in it is the token's, the tenant is active, and a connection to its
//! own database with `R`'s intent is open. The connection is opened last, so a slow body holds none.

use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts as _, Path, Query, Request};
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::Problem;
use super::{State, body};
use crate::auth::{AuthError, Principal, Scope};
use crate::directory::Directory;
use crate::id::TenantId;
use crate::profile::Template;
use crate::tenant::{Intent, Read, TenantDb, Write};

/// A scope and what it opens a tenant for, as a type.
pub(super) trait Right: Send + Sync + 'static {
    const SCOPE: Scope;
    type Intent: Intent;
}

macro_rules! rights {
    ($($name:ident: $intent:ident),*) => {$(
        pub(super) enum $name {}
        impl Right for $name {
            const SCOPE: Scope = Scope::$name;
            type Intent = $intent;
        }
    )*};
}
rights! {
    ReadMemories: Read, WriteMemories: Write, ReadCalls: Read, WriteCalls: Write, ReadCallers: Read, WriteCallers: Write,
    ReadKnowledge: Read, WriteKnowledge: Write, ReadConfig: Read, WriteConfig: Write
}

/// What a handler reads from a request, besides who sent it.
pub(super) trait Input: Sized + Send + 'static {
    /// Reads it. `claimed` is called with every tenant id that the request names.
    fn read(request: Request, claimed: &Claim) -> impl Future<Output = Result<Self, Problem>> + Send;
}

/// Holds the tenant ids in a request to the token's, and knows what else is said of that tenant.
pub(super) struct Claim {
    tenant: TenantId,
    directory: Arc<Directory>,
}

impl Claim {
    /// An id that is not the token's never widens anything: 403, whoever's it is.
    fn check(&self, value: &Value) -> Result<(), Problem> {
        let named = match value {
            Value::Null => return Ok(()),
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        match named {
            None => Err(Problem::invalid("customer_id must be an integer.")),
            Some(id) if id == i64::from(self.tenant.get()) => Ok(()),
            Some(_) => Err(Problem::new(StatusCode::FORBIDDEN, "other_customer", "The token is for another customer.")),
        }
    }

    /// The same for the company in a path, in the words that its clients know.
    fn check_company(&self, company: &str) -> Result<(), Problem> {
        if company == self.tenant.to_string() {
            return Ok(());
        }
        let body = serde_json::json!({ "error": "Unauthorized", "message": "You do not have access to this company" });
        Err(Problem::legacy(StatusCode::FORBIDDEN, body))
    }

    fn check_query(&self, request: &Request) -> Result<(), Problem> {
        let query = request.uri().query().unwrap_or_default();
        form_urlencoded::parse(query.as_bytes())
            .filter(|(name, _)| name == "customer_id")
            .try_for_each(|(_, value)| self.check(&Value::from(value.as_ref())))
    }
}

/// Nothing but who asks.
pub(super) struct Nothing;

impl Input for Nothing {
    async fn read(_: Request, _: &Claim) -> Result<Self, Problem> {
        Ok(Self)
    }
}

/// Whatever is read from a path below `/api/company/{company_id}`, whose company is the token's own.
pub(super) struct OfCompany<In>(pub In);

#[derive(serde::Deserialize)]
struct Company {
    company_id: String,
}

impl<In: Input> Input for OfCompany<In> {
    async fn read(request: Request, claimed: &Claim) -> Result<Self, Problem> {
        let (Company { company_id }, request) = path(request).await?;
        claimed.check_company(&company_id)?;
        In::read(request, claimed).await.map(Self)
    }
}

/// A query string.
pub(super) struct FromQuery<T>(pub T);

impl<T: DeserializeOwned + Send + 'static> Input for FromQuery<T> {
    async fn read(request: Request, _: &Claim) -> Result<Self, Problem> {
        query(&request).map(Self)
    }
}

/// A placeholder of the path.
pub(super) struct FromPath<T>(pub T);

impl<T: DeserializeOwned + Send + 'static> Input for FromPath<T> {
    async fn read(request: Request, _: &Claim) -> Result<Self, Problem> {
        path(request).await.map(|(value, _)| Self(value))
    }
}

/// A placeholder of the path, and a query string.
pub(super) struct FromPathAndQuery<P, Q>(pub P, pub Q);

impl<P: DeserializeOwned + Send + 'static, Q: DeserializeOwned + Send + 'static> Input for FromPathAndQuery<P, Q> {
    async fn read(request: Request, _: &Claim) -> Result<Self, Problem> {
        let (value, request) = path(request).await?;
        Ok(Self(value, query(&request)?))
    }
}

/// A JSON body.
pub(super) struct FromJson<T>(pub T);

impl<T: DeserializeOwned + Send + 'static> Input for FromJson<T> {
    async fn read(request: Request, claimed: &Claim) -> Result<Self, Problem> {
        let value = body::json(request).await?;
        claimed.check(&value["customer_id"])?;
        body::typed(value).map(Self)
    }
}

/// A placeholder of the path, and a JSON body.
pub(super) struct FromPathAndJson<P, T>(pub P, pub T);

impl<P: DeserializeOwned + Send + 'static, T: DeserializeOwned + Send + 'static> Input for FromPathAndJson<P, T> {
    async fn read(request: Request, claimed: &Claim) -> Result<Self, Problem> {
        let (value, request) = path(request).await?;
        let FromJson(body) = FromJson::read(request, claimed).await?;
        Ok(Self(value, body))
    }
}

/// Anything else, and the version that the client has seen, from `If-Match`; `None` if it does not say.
pub(super) struct IfMatch<T>(pub Option<i32>, pub T);

impl<T: Input> Input for IfMatch<T> {
    async fn read(request: Request, claimed: &Claim) -> Result<Self, Problem> {
        let seen = request.headers().get(header::IF_MATCH).map(|value| value.to_str().unwrap_or_default().trim());
        let seen = seen.filter(|tag| *tag != "*").map(|tag| {
            // What is not a tag of ours matches no version.
            tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).and_then(|n| n.parse().ok()).unwrap_or(0)
        });
        Ok(Self(seen, T::read(request, claimed).await?))
    }
}

/// Anything else, and the template that the tenant is bound to: read before its database is opened.
pub(super) struct WithTemplate<T>(pub Option<Arc<Template>>, pub T);

impl<T: Input> Input for WithTemplate<T> {
    async fn read(request: Request, claimed: &Claim) -> Result<Self, Problem> {
        let rest = T::read(request, claimed).await?;
        Ok(Self(claimed.directory.template_of(claimed.tenant).await?, rest))
    }
}

/// A JSON body of the two oldest routes, where `customer_id` is not optional and has its own refusal.
pub(super) struct FromLegacyJson<T>(pub T);

impl<T: DeserializeOwned + Send + 'static> Input for FromLegacyJson<T> {
    async fn read(request: Request, claimed: &Claim) -> Result<Self, Problem> {
        let value = body::json(request).await?;
        if value["customer_id"].is_null() {
            let error = "customer_id is required for multi-tenant security";
            return Err(Problem::legacy(
                StatusCode::BAD_REQUEST,
                serde_json::json!({ "success": false, "error": error }),
            ));
        }
        claimed.check(&value["customer_id"])?;
        body::typed(value).map(Self)
    }
}

fn query<T: DeserializeOwned>(request: &Request) -> Result<T, Problem> {
    Query::try_from_uri(request.uri()).map(|Query(value)| value).map_err(|error| Problem::invalid(error.body_text()))
}

async fn path<T: DeserializeOwned + Send>(request: Request) -> Result<(T, Request), Problem> {
    let (mut parts, body) = request.into_parts();
    let Path(value) = Path::from_request_parts(&mut parts, &()).await.map_err(|_| Problem::not_found())?;
    Ok((value, Request::from_parts(parts, body)))
}

/// A request that may go ahead.
pub(super) struct Authorized<R: Right, In> {
    pub(super) db: TenantDb<R::Intent>,
    pub(super) input: In,
    /// Which token it is, for records of who changed what.
    pub(super) by: String,
    /// Who was let in, for flows that open the tenant again.
    pub(super) who: Principal,
    pub(super) state: State,
    right: PhantomData<fn() -> R>,
}

impl<R: Right, In: Input> FromRequest<State> for Authorized<R, In> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &State) -> Result<Self, Problem> {
        let bearer = bearer(request.headers()).ok_or(AuthError::Missing)?;
        let token = state.tokens.verify_for_tenant(bearer).await?;
        if !token.scopes.contains(R::SCOPE) {
            let detail = format!("The token lacks the scope {}.", R::SCOPE);
            return Err(Problem::new(StatusCode::FORBIDDEN, "missing_scope", detail));
        }
        state.router.admit::<R::Intent>(token.principal.tenant()).await?;
        let claim = Claim { tenant: token.principal.tenant(), directory: Arc::clone(&state.directory) };
        claim.check_query(&request)?;
        let input = In::read(request, &claim).await?;
        let db = state.router.open(&token.principal).await?;
        Ok(Self { db, input, by: token.by, who: token.principal, state: state.clone(), right: PhantomData })
    }
}

/// An [`Authorized`] request and what the process keeps for all requests.
pub(super) struct Answering<R: Right, In> {
    pub(super) authorized: Authorized<R, In>,
    pub(super) state: State,
}

impl<R: Right, In: Input> FromRequest<State> for Answering<R, In> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &State) -> Result<Self, Problem> {
        Ok(Self { authorized: Authorized::from_request(request, state).await?, state: state.clone() })
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
