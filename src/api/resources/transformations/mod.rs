//! Transformations and their projects: definitions, checked and kept. Running them is another issue of the project; until
//! then a request to run says so.

mod projects;

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::actor;
use crate::api::Services;
use crate::api::access::Needs;
use crate::api::cursor::Items;
use crate::api::error::{ApiError, ApiResult};
use crate::api::request::Call;
use crate::api::response::{Answer, NoData};
use crate::api::router::{CURSOR, LIMIT, Method, Route, handler};
use crate::api::timestamp::Timestamp;
use crate::control::definitions::Definition;
use crate::control::{ObjectKind, Placed};
use crate::core::access::{Access, Resource};
use crate::core::{Error, Result};

const PROJECT: &str = "transformation_project";
const TRANSFORMATION: &str = "transformation";

/// Why nothing runs.
const NOT_RUN: &str = "Transformations are kept but not run by this version: it has no dbt. Run dbt yourself after the \
    webhook sync_end";

pub(crate) fn routes() -> Vec<Route> {
    const LIST: &str = "/v1/transformations";
    const ONE: &str = "/v1/transformations/{transformation_id}";
    let mut routes = projects::routes();
    routes.extend([
        Route::new(
            Method::Get,
            LIST,
            "List transformations",
            Needs::anywhere(Resource::Transformation, Access::Read),
            handler!(list => Items<TransformationBody>),
        )
        .query(&[
            ("group_id", "Only transformations of this group"),
            ("project_id", "Only transformations of this project"),
            ("type", "Only DBT_CORE or QUICKSTART"),
            ("cursor", CURSOR),
            ("limit", LIMIT),
        ]),
        Route::new(
            Method::Post,
            LIST,
            "Create a transformation",
            Needs::in_body(
                Resource::Transformation,
                Access::Create,
                &[
                    (ObjectKind::TransformationProject, "/transformation_config/project_id"),
                    (ObjectKind::Connection, "/transformation_config/connection_ids"),
                ],
            ),
            handler!(create, Fields => TransformationBody),
        )
        .status(201)
        .details("Kept as it is: nothing runs it yet, so the status stays NEW."),
        Route::new(
            Method::Get,
            ONE,
            "Read a transformation",
            Needs::on(Resource::Transformation, Access::Read, "transformation_id"),
            handler!(get => TransformationBody),
        ),
        Route::new(
            Method::Patch,
            ONE,
            "Change a transformation",
            Needs::on(Resource::Transformation, Access::Edit, "transformation_id").naming(&[
                (ObjectKind::TransformationProject, "/transformation_config/project_id"),
                (ObjectKind::Connection, "/transformation_config/connection_ids"),
            ]),
            handler!(edit, Fields => TransformationBody),
        ),
        Route::new(
            Method::Delete,
            ONE,
            "Delete a transformation",
            Needs::on(Resource::Transformation, Access::Manage, "transformation_id"),
            handler!(delete),
        ),
    ]);
    for path in [
        "/v1/transformations/{transformation_id}/run",
        "/v1/transformations/{transformation_id}/cancel",
        "/v1/transformations/{transformation_id}/upgrade",
    ] {
        routes.push(Route::new(
            Method::Post,
            path,
            "Not supported: 400 with the reason",
            Needs::on(Resource::Transformation, Access::Edit, "transformation_id"),
            handler!(not_run),
        ));
    }
    routes
}

/// What runs a transformation.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Kind {
    #[default]
    DbtCore,
    Quickstart,
}

/// A transformation. At creation `transformation_config` and `schedule` are required; later what is left out stays.
#[derive(Deserialize, JsonSchema)]
struct Fields {
    /// `DBT_CORE` where absent.
    r#type: Option<Kind>,
    /// Whether it is kept from running.
    paused: Option<bool>,
    /// When it would run.
    schedule: Option<Schedule>,
    /// What it runs: `project_id`, `name` and `steps` of dbt Core; `package_name` or `connection_ids` of Quickstart.
    transformation_config: Option<TransformationConfig>,
}

/// When a transformation runs.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Schedule {
    schedule_type: ScheduleKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    cron: Option<Vec<String>>,
    /// Minutes.
    #[schemars(range(min = 1))]
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    days_of_week: Option<BTreeSet<Day>>,
    /// A full or half hour, `HH:00` or `HH:30`.
    #[serde(skip_serializing_if = "Option::is_none")]
    time_of_day: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_ids: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transformation_ids: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    smart_syncing: Option<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum ScheduleKind {
    Integrated,
    TimeOfDay,
    Interval,
    Cron,
}

/// A day of the week.
#[derive(PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Day {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

/// What a transformation runs.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
struct TransformationConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    project_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    steps: Option<Vec<Step>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    package_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_ids: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    excluded_models: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    configurable_variables: Option<Map<String, Value>>,
}

/// A command of dbt.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Step {
    name: String,
    command: String,
}

/// A transformation as kept.
#[derive(Serialize, JsonSchema)]
struct TransformationBody {
    id: String,
    r#type: Kind,
    status: &'static str,
    paused: bool,
    #[schemars(with = "Schedule")]
    schedule: Map<String, Value>,
    transformation_config: Map<String, Value>,
    output_model_names: Vec<String>,
    created_at: Timestamp,
    created_by_id: String,
    last_started_at: Option<Timestamp>,
    last_ended_at: Option<Timestamp>,
}

fn object(body: &Value, field: &str) -> Map<String, Value> {
    body.get(field).and_then(Value::as_object).cloned().unwrap_or_default()
}

fn kind_of(body: &Value) -> Kind {
    match body.get("type").and_then(Value::as_str) {
        Some("QUICKSTART") => Kind::Quickstart,
        _ => Kind::DbtCore,
    }
}

impl From<Definition> for TransformationBody {
    fn from(transformation: Definition) -> Self {
        let body = &transformation.body;
        Self {
            r#type: kind_of(body),
            status: "NEW",
            paused: body.get("paused").and_then(Value::as_bool).unwrap_or(false),
            schedule: object(body, "schedule"),
            transformation_config: object(body, "transformation_config"),
            output_model_names: Vec::new(),
            last_started_at: None,
            last_ended_at: None,
            id: transformation.id,
            created_at: Timestamp(transformation.created_at),
            created_by_id: transformation.created_by.unwrap_or_default(),
        }
    }
}

fn required(field: &str) -> Error {
    Error::invalid("This is required").field(field).remedy("Add it")
}

fn refuse(what: &str, field: &str, remedy: &str) -> ApiError {
    Error::invalid(what).field(field).remedy(remedy).into()
}

/// The fields that are given, laid over those that are stored.
fn laid_over(stored: Option<&Value>, name: &str, given: &impl Serialize) -> Result<Value> {
    let mut fields = stored.map(|stored| object(stored, name)).unwrap_or_default();
    if let Value::Object(given) = serde_json::to_value(given)? {
        fields.extend(given);
    }
    Ok(Value::Object(fields))
}

async fn found(services: &Services, call: &Call<'_>) -> ApiResult<Definition> {
    let id = call.part("transformation_id");
    let found = services.control.definition(TRANSFORMATION, id).await?;
    found.ok_or_else(|| ApiError::not_found("Transformation", id))
}

async fn save(services: &Services, edited: &Definition) -> ApiResult<()> {
    if services.control.save_definition(edited).await? {
        return Ok(());
    }
    Err(ApiError::conflict("This is being edited by others. Try again"))
}

fn project_of(body: &Value) -> Option<&str> {
    body.pointer("/transformation_config/project_id").and_then(Value::as_str)
}

/// Checks what the schedule's kind requires.
fn check_schedule(schedule: &Schedule) -> ApiResult<()> {
    let needs =
        |given: bool, field: &str| if given { Ok(()) } else { Err(required(&format!("schedule.{field}"))) };
    match schedule.schedule_type {
        ScheduleKind::Integrated => {}
        ScheduleKind::Interval => needs(schedule.interval.is_some(), "interval")?,
        ScheduleKind::Cron => needs(schedule.cron.as_ref().is_some_and(|cron| !cron.is_empty()), "cron")?,
        ScheduleKind::TimeOfDay => needs(schedule.time_of_day.is_some(), "time_of_day")?,
    }
    let Some(time) = &schedule.time_of_day else { return Ok(()) };
    let hour = time.strip_suffix(":00").or_else(|| time.strip_suffix(":30")).filter(|hour| hour.len() == 2);
    if hour.and_then(|hour| hour.parse::<u8>().ok()).is_none_or(|hour| hour > 23) {
        return Err(refuse("This is not a full or half hour", "schedule.time_of_day", "Send HH:00 or HH:30"));
    }
    Ok(())
}

/// A schedule names connections and transformations of its own group. Others are not told apart from those that do not
/// exist.
async fn check_named(services: &Services, schedule: &Schedule, group_id: &str) -> ApiResult<()> {
    let connections = (ObjectKind::Connection, "connection_ids", &schedule.connection_ids);
    let transformations = (ObjectKind::Transformation, "transformation_ids", &schedule.transformation_ids);
    for (kind, field, ids) in [connections, transformations] {
        let ids = ids.as_deref().unwrap_or_default();
        let named = ids.iter().map(|id| (kind, id.as_str())).collect::<Vec<_>>();
        if named.is_empty() {
            continue;
        }
        let places = services.control.places(&named).await?;
        let here = |place: &Option<Placed>| {
            place.as_ref().is_some_and(|placed| placed.group_id.as_deref() == Some(group_id))
        };
        if let Some(at) = places.iter().position(|place| !here(place)) {
            let field = format!("schedule.{field}[{at}]");
            return Err(refuse("The group has nothing of this id", &field, "Correct it, or leave it out"));
        }
    }
    Ok(())
}

/// The body to keep and the group it belongs to.
async fn checked(
    services: &Services,
    fields: &Fields,
    stored: Option<&Definition>,
) -> ApiResult<(Value, String)> {
    let before = stored.map(|stored| &stored.body);
    let kind = fields.r#type.unwrap_or_else(|| before.map(kind_of).unwrap_or_default());
    let config = laid_over(before, "transformation_config", &fields.transformation_config)?;
    let schedule = match &fields.schedule {
        Some(schedule) => {
            check_schedule(schedule)?;
            serde_json::to_value(schedule).map_err(Error::from)?
        }
        None => {
            before.map(|body| Value::Object(object(body, "schedule"))).ok_or_else(|| required("schedule"))?
        }
    };
    let part = |field: &str| config.get(field).filter(|value| !value.is_null());
    let group_id = match kind {
        Kind::DbtCore => {
            for field in ["project_id", "name", "steps"] {
                part(field).ok_or_else(|| required(&format!("transformation_config.{field}")))?;
            }
            let id = part("project_id").and_then(Value::as_str).unwrap_or_default();
            projects::found(services, id).await?.group_id
        }
        Kind::Quickstart => {
            let first = part("connection_ids").and_then(|ids| ids.get(0)).and_then(Value::as_str);
            let id = first.ok_or_else(|| required("transformation_config.connection_ids"))?;
            let connection = services.control.connection(id).await?;
            connection.ok_or_else(|| ApiError::not_found("Connection", id))?.group_id
        }
    };
    if stored.is_some_and(|stored| stored.group_id != group_id) {
        return Err(refuse(
            "A transformation stays in its group",
            "transformation_config",
            "Name a project or connections of the same group",
        ));
    }
    if let Some(schedule) = &fields.schedule {
        check_named(services, schedule, &group_id).await?;
    }
    let paused = fields.paused.or(before.and_then(|body| body.get("paused")).and_then(Value::as_bool));
    let body = serde_json::json!({
        "type": kind,
        "paused": paused.unwrap_or(false),
        "schedule": schedule,
        "transformation_config": config,
    });
    Ok((body, group_id))
}

async fn list(services: &Services, call: &Call<'_>) -> ApiResult<Answer<Items<TransformationBody>>> {
    let (scope, group_id) = (call.scope(Resource::Transformation), call.query("group_id"));
    let mut listing = services.control.definitions(TRANSFORMATION, &scope, group_id, &call.page()?).await?;
    // A page may hold less than its limit; its cursor says whether there is more.
    let wanted = |field: &str, is: Option<&str>| call.query(field).is_none_or(|wanted| is == Some(wanted));
    listing.items.retain(|one| {
        wanted("project_id", project_of(&one.body))
            && wanted("type", one.body.get("type").and_then(Value::as_str))
    });
    Answer::new("Transformations list retrieved successfully", &Items::of(listing, TransformationBody::from))
}

async fn create(
    services: &Services,
    call: &Call<'_>,
    fields: Fields,
) -> ApiResult<Answer<TransformationBody>> {
    let (body, group_id) = checked(services, &fields, None).await?;
    let created = services.control.create_definition(TRANSFORMATION, &group_id, body, actor(call)).await?;
    Answer::new("Transformation created successfully", &TransformationBody::from(created))
}

async fn get(services: &Services, call: &Call<'_>) -> ApiResult<Answer<TransformationBody>> {
    let transformation = found(services, call).await?;
    Answer::new("Transformation details retrieved successfully", &TransformationBody::from(transformation))
}

async fn edit(services: &Services, call: &Call<'_>, fields: Fields) -> ApiResult<Answer<TransformationBody>> {
    let mut transformation = found(services, call).await?;
    transformation.body = checked(services, &fields, Some(&transformation)).await?.0;
    save(services, &transformation).await?;
    Answer::new("Transformation updated successfully", &TransformationBody::from(transformation))
}

async fn delete(services: &Services, call: &Call<'_>) -> ApiResult<Answer<NoData>> {
    let transformation = found(services, call).await?;
    services.control.delete_definition(TRANSFORMATION, &transformation.id).await?;
    Ok(Answer::done(format!("Transformation with id '{}' has been deleted", transformation.id)))
}

async fn not_run(services: &Services, call: &Call<'_>) -> ApiResult<Answer<NoData>> {
    found(services, call).await?;
    Err(ApiError::new(400, "NotSupported", NOT_RUN))
}
