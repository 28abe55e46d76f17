//! Transformation projects: where a dbt project is, checked and kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Kind, NOT_RUN, PROJECT, TRANSFORMATION, laid_over, object, project_of, refuse, required, save};
use crate::api::Services;
use crate::api::access::Needs;
use crate::api::cursor::Items;
use crate::api::error::{ApiError, ApiResult};
use crate::api::request::Call;
use crate::api::resources::actor;
use crate::api::response::{Answer, NoData};
use crate::api::router::{Method, PAGED, Route, handler};
use crate::api::timestamp::Timestamp;
use crate::connectors::SetupTest;
use crate::control::definitions::Definition;
use crate::control::{ObjectKind, Page, Scope};
use crate::core::access::{Access, Resource};

pub(super) fn routes() -> Vec<Route> {
    const LIST: &str = "/v1/transformation-projects";
    const ONE: &str = "/v1/transformation-projects/{project_id}";
    const TEST: &str = "/v1/transformation-projects/{project_id}/test";
    vec![
        Route::new(
            Method::Get,
            LIST,
            "List projects",
            Needs::anywhere(Resource::Transformation, Access::Read),
            handler!(list => Items<ProjectBody>),
        )
        .query(PAGED),
        Route::new(
            Method::Post,
            LIST,
            "Create a project",
            Needs::in_body(Resource::Transformation, Access::Create, &[(ObjectKind::Group, "/group_id")]),
            handler!(create, ProjectFields => ProjectBody),
        )
        .status(201)
        .details("Kept as it is: no repository is fetched, so the status stays NOT_READY."),
        Route::new(
            Method::Get,
            ONE,
            "Read a project",
            Needs::on(Resource::Transformation, Access::Read, "project_id"),
            handler!(get => ProjectBody),
        ),
        Route::new(
            Method::Patch,
            ONE,
            "Change a project",
            Needs::on(Resource::Transformation, Access::Edit, "project_id"),
            handler!(edit, ProjectFields => ProjectBody),
        ),
        Route::new(
            Method::Delete,
            ONE,
            "Delete a project without transformations",
            Needs::on(Resource::Transformation, Access::Manage, "project_id"),
            handler!(delete),
        ),
        Route::new(
            Method::Post,
            TEST,
            "Not supported: 400 with the reason",
            Needs::on(Resource::Transformation, Access::Edit, "project_id"),
            handler!(test),
        ),
    ]
}

/// A project. At creation `group_id` and `project_config` with `dbt_version`, `default_schema` and `git_remote_url` are
/// required; later what is left out stays.
#[derive(Deserialize, JsonSchema)]
struct ProjectFields {
    /// Group whose destination it transforms.
    group_id: Option<String>,
    /// Only `DBT_CORE`.
    r#type: Option<Kind>,
    /// Where the project is and how it runs.
    project_config: Option<ProjectConfig>,
    /// Not supported: leave it out, or false.
    run_tests: Option<bool>,
}

/// Where a dbt project is and how it runs.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
struct ProjectConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    dbt_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    default_schema: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    git_remote_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    folder_path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    git_branch: Option<String>,
    #[schemars(range(min = 1, max = 32))]
    #[serde(skip_serializing_if = "Option::is_none")]
    threads: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_name: Option<String>,
    /// `DBT_NAME=value` each.
    #[serde(skip_serializing_if = "Option::is_none")]
    environment_vars: Option<Vec<String>>,
}

/// A project as kept.
#[derive(Serialize, JsonSchema)]
struct ProjectBody {
    id: String,
    r#type: &'static str,
    status: &'static str,
    errors: Vec<String>,
    group_id: String,
    created_at: Timestamp,
    created_by_id: String,
    setup_tests: Vec<SetupTest>,
    project_config: Map<String, Value>,
}

impl From<Definition> for ProjectBody {
    fn from(project: Definition) -> Self {
        Self {
            r#type: "DBT_CORE",
            status: "NOT_READY",
            errors: vec![NOT_RUN.to_owned()],
            setup_tests: Vec::new(),
            project_config: object(&project.body, "project_config"),
            id: project.id,
            group_id: project.group_id,
            created_at: Timestamp(project.created_at),
            created_by_id: project.created_by.unwrap_or_default(),
        }
    }
}

pub(super) async fn found(services: &Services, id: &str) -> ApiResult<Definition> {
    let found = services.control.definition(PROJECT, id).await?;
    found.ok_or_else(|| ApiError::not_found("TransformationProject", id))
}

fn checked_project(fields: &ProjectFields, stored: Option<&Value>) -> ApiResult<Value> {
    if fields.r#type == Some(Kind::Quickstart) {
        return Err(refuse("A project is of type DBT_CORE", "type", "Leave it out"));
    }
    if fields.run_tests == Some(true) {
        let remedy = "Leave it out, or send false: no repository is fetched, so there is nothing to test";
        return Err(ApiError::unsupported("run_tests", remedy));
    }
    let config = laid_over(stored, "project_config", &fields.project_config)?;
    for field in ["dbt_version", "default_schema", "git_remote_url"] {
        if config.get(field).and_then(Value::as_str).is_none_or(str::is_empty) {
            return Err(required(&format!("project_config.{field}")).into());
        }
    }
    let variables = fields.project_config.as_ref().and_then(|config| config.environment_vars.as_ref());
    let named = |variable: &String| variable.starts_with("DBT_") && variable.contains('=');
    if let Some(at) = variables.and_then(|all| all.iter().position(|variable| !named(variable))) {
        let field = format!("project_config.environment_vars[{at}]");
        return Err(refuse("This is not a variable of dbt", &field, "Send DBT_NAME=value"));
    }
    Ok(serde_json::json!({ "project_config": config }))
}

async fn list(services: &Services, call: &Call<'_>) -> ApiResult<Answer<Items<ProjectBody>>> {
    let listing = services
        .control
        .definitions(PROJECT, &call.scope(Resource::Transformation), None, &call.page()?)
        .await?;
    Answer::new("Transformation projects retrieved successfully", &Items::of(listing, ProjectBody::from))
}

async fn create(
    services: &Services,
    call: &Call<'_>,
    fields: ProjectFields,
) -> ApiResult<Answer<ProjectBody>> {
    let group_id = fields.group_id.as_deref().ok_or_else(|| required("group_id"))?;
    if services.control.group(group_id).await?.is_none() {
        return Err(ApiError::not_found("Group", group_id));
    }
    let body = checked_project(&fields, None)?;
    let created = services.control.create_definition(PROJECT, group_id, body, actor(call)).await?;
    Answer::new("Transformation project created successfully", &ProjectBody::from(created))
}

async fn get(services: &Services, call: &Call<'_>) -> ApiResult<Answer<ProjectBody>> {
    let project = found(services, call.part("project_id")).await?;
    Answer::new("Transformation project details retrieved successfully", &ProjectBody::from(project))
}

async fn edit(services: &Services, call: &Call<'_>, fields: ProjectFields) -> ApiResult<Answer<ProjectBody>> {
    let mut project = found(services, call.part("project_id")).await?;
    if fields.group_id.as_ref().is_some_and(|group| *group != project.group_id) {
        return Err(refuse(
            "A project stays in its group",
            "group_id",
            "Leave it out, or create another project",
        ));
    }
    project.body = checked_project(&fields, Some(&project.body))?;
    save(services, &project).await?;
    Answer::new("Transformation project updated successfully", &ProjectBody::from(project))
}

async fn delete(services: &Services, call: &Call<'_>) -> ApiResult<Answer<NoData>> {
    let project = found(services, call.part("project_id")).await?;
    if is_used(services, call, &project).await? {
        return Err(ApiError::illegal_state("The project still has transformations. Delete them first"));
    }
    services.control.delete_definition(PROJECT, &project.id).await?;
    Ok(Answer::done(format!("Transformation project with id '{}' has been deleted", project.id)))
}

/// Whether a transformation runs it. Their documents are sealed, so that the database cannot be asked.
async fn is_used(services: &Services, call: &Call<'_>, project: &Definition) -> ApiResult<bool> {
    let (everything, group_id) = (Scope::all(&call.caller.account_id), Some(project.group_id.as_str()));
    let mut page = Page::first();
    loop {
        let listing = services.control.definitions(TRANSFORMATION, &everything, group_id, &page).await?;
        if listing.items.iter().any(|one| project_of(&one.body) == Some(&project.id)) {
            return Ok(true);
        }
        match listing.next {
            Some(next) => page.after = Some(next),
            None => return Ok(false),
        }
    }
}

async fn test(services: &Services, call: &Call<'_>) -> ApiResult<Answer<NoData>> {
    found(services, call.part("project_id")).await?;
    Err(ApiError::new(400, "NotSupported", NOT_RUN))
}
