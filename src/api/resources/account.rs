//! The account.

use schemars::JsonSchema;
use serde::Serialize;

use crate::api::Services;
use crate::api::access::Needs;
use crate::api::error::ApiResult;
use crate::api::request::Call;
use crate::api::response::Answer;
use crate::api::router::{Method, Route, handler};

pub(crate) fn routes() -> Vec<Route> {
    vec![Route::new(
        Method::Get,
        "/v1/account/info",
        "Account information",
        Needs::KEY,
        handler!(info => AccountInfo),
    )]
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
    let account = services.control.account_of(&call.caller.account_id).await?;
    let user_id = call.caller.user_id.clone();
    let system_key_id = user_id.is_none().then(|| call.caller.key_id.clone());
    let info = AccountInfo { account_id: account.id, account_name: account.name, user_id, system_key_id };
    Answer::new("Account information retrieved successfully", &info)
}
