//! The table of routes, and a request's way through it.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::LazyLock;

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::Value;

use super::access::{Needs, authorize};
use super::auth::authenticate;
use super::error::{ApiError, ApiResult};
use super::idempotency::once;
use super::rate_limit::Allowance;
use super::request::{ApiRequest, Call};
use super::response::{ApiResponse, Envelope};
use super::{Services, resources};
use crate::core::Error;

/// Serves a request. Never fails: failures are answers.
pub async fn dispatch(services: &Services, mut request: ApiRequest) -> ApiResponse {
    // Kestra's plugin asks under this name. Answers are in the shapes of version 2 everywhere.
    if let Some(path) = request.path.strip_prefix("/v2/") {
        request.path = format!("/v1/{path}");
    }
    // Without entropy there is no id, and an answer without one is better than none.
    let request_id = services.control.new_id().unwrap_or_default();
    let mut allowance = None;
    let mut response = match serve(services, &request, &mut allowance).await {
        Ok(response) => response,
        Err(error) => ApiResponse::from(error.in_words_of(&request.path)),
    };
    if let Some(Allowance { limit, remaining, .. }) = allowance {
        response.set("x-rate-limit", limit.to_string());
        response.set("x-rate-limit-remaining", remaining.to_string());
    }
    response.set("x-request-id", request_id);
    response.set("cache-control", "no-store");
    services.origins.permit(&request, &mut response);
    if request.method == "HEAD" {
        response.body.clear();
    }
    response
}

async fn serve(
    services: &Services,
    request: &ApiRequest,
    allowance: &mut Option<Allowance>,
) -> ApiResult<ApiResponse> {
    let router = ROUTER.as_ref().map_err(|message| Error::internal(message.clone()))?;
    let public = !(request.path == "/v1" || request.path.starts_with("/v1/"));
    let path = match request.path.trim_end_matches('/') {
        "" => "/",
        path => path,
    };
    let found = router.paths.at(path);
    let guarded = found.as_ref().map_or(!public, |found| found.value.guarded(&request.method));
    // Who is not known learns nothing, not even which paths there are. `OPTIONS` carries no credentials in browsers.
    let caller = match guarded && request.method != "OPTIONS" {
        true => Some(authenticate(services, request).await?),
        false => None,
    };
    if let Some(caller) = &caller {
        *allowance = services.rate_limits.take(&caller.key_id, services.ports.clock.now_micros());
        if let Some(seconds) = allowance.and_then(|allowance| allowance.retry_after) {
            let message = format!("This API key asks too much. Ask again in {seconds} seconds");
            return Err(ApiError::new(429, "TooManyRequests", message)
                .with_header("retry-after", seconds.to_string()));
        }
    }
    let Ok(found) = found else {
        let message =
            format!("There is no such path. The paths are listed at {}/v1/openapi.json", services.public_url);
        return Err(ApiError::new(404, "NotFound", message));
    };
    if request.method == "OPTIONS" {
        let mut response =
            ApiResponse::json(200, &super::response::Answer::done("Allowed methods").envelope());
        response.set("allow", found.value.allow());
        return Ok(response);
    }
    let Some(route) = found.value.route(&request.method) else {
        let message = format!("{} is not possible here. Use one of: {}", request.method, found.value.allow());
        return Err(ApiError::new(405, "MethodNotAllowed", message).with_header("allow", found.value.allow()));
    };
    if !matches!(route.run, Run::Guarded(_)) {
        request.check_accept()?;
    }
    let path = found
        .params
        .iter()
        .map(|(name, value)| Ok((name.to_owned(), decode(name, value)?)))
        .collect::<ApiResult<Vec<_>>>()?;
    let query = url::form_urlencoded::parse(request.query.as_bytes()).into_owned().collect();
    let Some(caller) = caller else {
        return match route.run {
            Run::Plain(run) => run(services),
            _ => Err(Error::internal("A route for everybody answers as if it knew who asks").into()),
        };
    };
    let call = Call { request, path, query, caller };
    authorize(services, &call, route.needs).await?;
    match route.run {
        Run::Envelope(run) => {
            let work = async {
                let envelope = run(services, &call, &route.body_schema).await?;
                Ok(ApiResponse::json(route.status, &envelope))
            };
            once(services, &call, work).await
        }
        Run::Plain(run) => run(services),
        Run::Guarded(run) => run(services).await,
    }
}

fn decode(name: &str, encoded: &str) -> ApiResult<String> {
    let text = percent_decode(encoded).filter(|text| !text.contains('\0'));
    text.ok_or_else(|| {
        Error::invalid("This part of the path is not percent-encoded UTF-8")
            .field(name)
            .remedy("Encode it")
            .into()
    })
}

/// `%2F` is a slash within a name (a table may be called `a/b`), so parts are decoded after routing. Other than in a
/// query a `+` is a plus.
fn percent_decode(encoded: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (high, low) = (digit(rest.next())?, digit(rest.next())?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok()
}

/// HTTP methods of routes; `HEAD` is `GET`, `OPTIONS` is answered for every path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Method {
    Get,
    Post,
    Patch,
    Delete,
}

impl Method {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    fn named(name: &str) -> Option<Self> {
        match name {
            "GET" | "HEAD" => Some(Self::Get),
            "POST" => Some(Self::Post),
            "PATCH" => Some(Self::Patch),
            "DELETE" => Some(Self::Delete),
            _ => None,
        }
    }
}

/// A resource's function behind a route. The last argument is the schema of the body.
pub(crate) type Handler = for<'a> fn(
    &'a Services,
    &'a Call<'a>,
    &'a Value,
) -> Pin<Box<dyn Future<Output = ApiResult<Envelope>> + 'a>>;

/// A function behind a route that needs nothing of the request.
pub(crate) type Answering =
    for<'a> fn(&'a Services) -> Pin<Box<dyn Future<Output = ApiResult<ApiResponse>> + 'a>>;

/// What a route runs.
#[derive(Clone, Copy)]
pub(crate) enum Run {
    /// Answers in the envelope.
    Envelope(Handler),
    /// Answers as it likes, to anybody.
    Plain(fn(&Services) -> ApiResult<ApiResponse>),
    /// Answers as it likes, to those who have a key.
    Guarded(Answering),
}

/// Makes a schema.
pub(crate) type SchemaOf = fn(&mut SchemaGenerator) -> schemars::Schema;

/// One operation of the API.
pub(crate) struct Route {
    pub(crate) method: Method,
    /// Template, for example `/v1/groups/{group_id}`.
    pub(crate) path: String,
    pub(crate) summary: &'static str,
    /// More than the summary, in the OpenAPI document.
    pub(crate) details: &'static str,
    /// Status of success. Clients compare it exactly.
    pub(crate) status: u16,
    /// Query parameters, with what they do.
    pub(crate) query: &'static [(&'static str, &'static str)],
    /// What it demands of who asks.
    pub(crate) needs: Needs,
    pub(crate) run: Run,
    pub(crate) body: Option<SchemaOf>,
    pub(crate) data: Option<SchemaOf>,
    /// True for the other names of a route.
    pub(crate) alias: bool,
    /// The body's schema without references, made once.
    body_schema: Value,
}

/// `cursor` and `limit`.
pub(crate) const PAGED: &[(&str, &str)] = &[("cursor", CURSOR), ("limit", LIMIT)];
pub(crate) const CURSOR: &str = "next_cursor of the previous page";
pub(crate) const LIMIT: &str = "Most items in the page, 1 to 1000; 100 where absent";

/// Parts of paths, and what Fivetran called them at another time.
const OTHER_NAMES: [(&str, &str); 4] = [
    ("/connections", "/connectors"),
    ("/metadata/connector-types", "/metadata/connectors"),
    ("/metadata/connector-types", "/metadata/connections"),
    ("/metadata/connectors/", "/metadata/connections/"),
];

impl Route {
    /// A route from what `handler!` made.
    pub(crate) fn new(
        method: Method,
        path: &str,
        summary: &'static str,
        needs: Needs,
        (run, body, data): (Run, Option<SchemaOf>, Option<SchemaOf>),
    ) -> Self {
        let body_schema = body.map(inline_schema).unwrap_or_default();
        let (path, alias) = (path.to_owned(), false);
        Self {
            method,
            path,
            summary,
            details: "",
            status: 200,
            query: &[],
            needs,
            run,
            body,
            data,
            alias,
            body_schema,
        }
    }

    pub(crate) fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn query(mut self, query: &'static [(&'static str, &'static str)]) -> Self {
        self.query = query;
        self
    }

    pub(crate) fn details(mut self, details: &'static str) -> Self {
        self.details = details;
        self
    }

    /// The same operation under Fivetran's other names of it.
    fn other_names(&self) -> impl Iterator<Item = Self> {
        OTHER_NAMES.iter().filter(|(name, _)| self.path.contains(name)).map(|(name, other)| Self {
            path: self.path.replace(name, other),
            alias: true,
            body_schema: self.body_schema.clone(),
            ..*self
        })
    }
}

/// The schema a body is checked against.
fn inline_schema(schema: SchemaOf) -> Value {
    let mut settings = schemars::generate::SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    schema(&mut settings.into_generator()).to_value()
}

/// The schema of a type, for [`Route`].
pub(crate) fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> schemars::Schema {
    generator.subschema_for::<T>()
}

/// Binds a function to a route, and its types to the OpenAPI document:
/// `handler!(list -> Items<Group>)`, `handler!(create(NewGroup) -> Group)`, `handler!(delete)`.
macro_rules! handler {
    ($name:path) => {{
        let run: $crate::api::router::Handler = |services, call, _| {
            Box::pin(async move {
                let answer: $crate::api::response::Answer<$crate::api::response::NoData> =
                    $name(services, call).await?;
                Ok(answer.envelope())
            })
        };
        ($crate::api::router::Run::Envelope(run), None, None)
    }};
    ($name:path => $data:ty) => {{
        let run: $crate::api::router::Handler = |services, call, _| {
            Box::pin(async move {
                let answer: $crate::api::response::Answer<$data> = $name(services, call).await?;
                Ok(answer.envelope())
            })
        };
        (
            $crate::api::router::Run::Envelope(run),
            None,
            Some($crate::api::router::schema_of::<$data> as $crate::api::router::SchemaOf),
        )
    }};
    ($name:path, $body:ty) => {{
        let run: $crate::api::router::Handler = |services, call, schema| {
            Box::pin(async move {
                let answer: $crate::api::response::Answer<$crate::api::response::NoData> =
                    $name(services, call, call.body::<$body>(schema)?).await?;
                Ok(answer.envelope())
            })
        };
        (
            $crate::api::router::Run::Envelope(run),
            Some($crate::api::router::schema_of::<$body> as $crate::api::router::SchemaOf),
            None,
        )
    }};
    ($name:path, $body:ty => $data:ty) => {{
        let run: $crate::api::router::Handler = |services, call, schema| {
            Box::pin(async move {
                let answer: $crate::api::response::Answer<$data> =
                    $name(services, call, call.body::<$body>(schema)?).await?;
                Ok(answer.envelope())
            })
        };
        (
            $crate::api::router::Run::Envelope(run),
            Some($crate::api::router::schema_of::<$body> as $crate::api::router::SchemaOf),
            Some($crate::api::router::schema_of::<$data> as $crate::api::router::SchemaOf),
        )
    }};
}
pub(crate) use handler;

/// The methods of one path.
#[derive(Default)]
struct Methods(BTreeMap<Method, Route>);

impl Methods {
    fn route(&self, method: &str) -> Option<&Route> {
        self.0.get(&Method::named(method)?)
    }

    /// Only the plain answers are for everybody. An unknown method is as guarded as the path's other methods.
    fn guarded(&self, method: &str) -> bool {
        let route = self.route(method).or_else(|| self.0.values().next());
        route.is_some_and(|route| !route.needs.is_public())
    }

    fn allow(&self) -> String {
        let mut names = self.0.keys().map(|method| method.name()).collect::<Vec<_>>();
        if self.0.contains_key(&Method::Get) {
            names.push("HEAD");
        }
        names.push("OPTIONS");
        names.join(", ")
    }
}

struct Router {
    paths: matchit::Router<Methods>,
}

/// Built on the first request of an isolate, and kept: the table depends on nothing but the code.
static ROUTER: LazyLock<Result<Router, String>> = LazyLock::new(|| {
    let mut by_path: BTreeMap<String, Methods> = BTreeMap::new();
    for route in all_routes() {
        by_path.entry(route.path.clone()).or_default().0.insert(route.method, route);
    }
    let mut paths = matchit::Router::new();
    for (path, methods) in by_path {
        paths.insert(path, methods).map_err(|error| format!("The table of routes is ambiguous: {error}"))?;
    }
    Ok(Router { paths })
});

/// Every route, other names included.
pub(crate) fn all_routes() -> Vec<Route> {
    let mut routes = resources::routes();
    let others = routes.iter().flat_map(Route::other_names).collect::<Vec<_>>();
    routes.extend(others);
    routes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_routes_is_unambiguous() {
        assert!(ROUTER.is_ok());
        let mut seen = std::collections::BTreeSet::new();
        for route in all_routes() {
            assert!(seen.insert((route.path.clone(), route.method)), "{:?} {}", route.method, route.path);
        }
    }

    #[test]
    fn path_parts_are_decoded_exactly() {
        assert_eq!(percent_decode("a%2Fb+c").as_deref(), Some("a/b+c"));
        assert_eq!(percent_decode("%C3%A9").as_deref(), Some("é"));
        for wrong in ["%", "%2", "%zz", "%ff", "%+1"] {
            assert_eq!(percent_decode(wrong), None, "{wrong}");
        }
    }
}
