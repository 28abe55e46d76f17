//! The roles there are.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::Services;
use crate::api::access::Needs;
use crate::api::cursor::{self, Items};
use crate::api::error::ApiResult;
use crate::api::request::Call;
use crate::api::response::Answer;
use crate::api::router::{Method, PAGED, Route, handler};
use crate::core::roles::{ROLES, Role, RoleScope};

pub(crate) fn routes() -> Vec<Route> {
    let list = handler!(list => Items<RoleBody>);
    vec![Route::new(Method::Get, "/v1/roles", "List roles", Needs::KEY, list).query(PAGED)]
}

/// A role.
#[derive(Serialize, JsonSchema)]
struct RoleBody {
    name: &'static str,
    description: &'static str,
    /// Where it can be held.
    scope: Vec<RoleScope>,
    is_custom: bool,
    is_deprecated: bool,
    /// Empty: none is deprecated.
    replacement_role_name: &'static str,
}

impl From<&Role> for RoleBody {
    fn from(role: &Role) -> Self {
        Self {
            name: role.name,
            description: role.description,
            scope: vec![role.scope],
            is_custom: false,
            is_deprecated: false,
            replacement_role_name: "",
        }
    }
}

/// The table is in the program, so its order is a position.
#[derive(Serialize, Deserialize)]
struct Position {
    n: usize,
}

async fn list(_: &Services, call: &Call<'_>) -> ApiResult<Answer<Items<RoleBody>>> {
    let limit = usize::try_from(call.limit()?).unwrap_or(usize::MAX);
    let start = call.query("cursor").map(cursor::read::<Position>).transpose()?.map_or(0, |at| at.n);
    let items = ROLES.iter().skip(start).take(limit).map(RoleBody::from).collect();
    let end = start.saturating_add(limit);
    let next_cursor = (end < ROLES.len()).then(|| cursor::write(&Position { n: end }));
    Answer::new("Roles list retrieved successfully", &Items { items, next_cursor })
}
