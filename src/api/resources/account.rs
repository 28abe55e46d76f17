//! The account.

use schemars::JsonSchema;
use serde::Serialize;

use super::users::OWNER_USER;
use crate::api::Services;
use crate::api::error::ApiResult;
use crate::api::request::{Call, Caller};
use crate::api::response::Answer;
use crate::api::router::{Method, Route, handler};

pub(crate) fn routes() -> Vec<Route> {
    vec![Route::new(Method::Get, "/v1/account/info", "Account information", handler!(info => AccountInfo))]
}

/// Whose key this is. A key is either the owner's or a system key.
#[derive(Serialize, JsonSchema)]
struct AccountInfo {
    account_id: String,
    account_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_key_id: Option<String>,
}

async fn info(services: &Services, call: &Call<'_>) -> ApiResult<Answer<AccountInfo>> {
    let account = services.control.account().await?;
    let (user_id, system_key_id) = match &call.caller {
        Caller::Owner => (Some(OWNER_USER.to_owned()), None),
        Caller::Key(id) => (None, Some(id.clone())),
    };
    let info = AccountInfo { account_id: account.id, account_name: account.name, user_id, system_key_id };
    Answer::new("Account information retrieved successfully", &info)
}
