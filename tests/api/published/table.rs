//! What Fivetran's specification of 2026-06-30 publishes, as facts: paths, query parameters, statuses, names and types of
//! answered fields.

/// `method path?query status answer`. `{}` is a parameter, `X[]` a page of `X`, `-` no data. The old names
/// (`/connectors`) are not listed: whatever is under `/connections` is there under them, too.
pub const ENDPOINTS: &str = "
GET /public/connector-types 200 ConnectorType
GET /account/info 200 Account
POST /certificates 200 -
GET /connections?group_id&schema 200 Connection[]
POST /connections 201 Connection
GET /connections/{} 200 Connection
PATCH /connections/{} 200 Connection
DELETE /connections/{} 200 -
GET /connections/{}/certificates 200 Certificate[]
POST /connections/{}/certificates 200 Certificate
GET /connections/{}/certificates/{} 200 Certificate
DELETE /connections/{}/certificates/{} 200 -
POST /connections/{}/connect-card 200 ConnectCardAnswer
GET /connections/{}/fingerprints 200 Fingerprint[]
POST /connections/{}/fingerprints 201 Fingerprint
GET /connections/{}/fingerprints/{} 200 Fingerprint
DELETE /connections/{}/fingerprints/{} 200 -
POST /connections/{}/resync 200 -
GET /connections/{}/schemas 200 SchemaConfig
POST /connections/{}/schemas 200 SchemaConfig
PATCH /connections/{}/schemas 200 SchemaConfig
POST /connections/{}/schemas/drop-columns 200 -
POST /connections/{}/schemas/reload 200 SchemaConfig
POST /connections/{}/schemas/tables/resync 200 -
PATCH /connections/{}/schemas/{} 200 SchemaConfig
PATCH /connections/{}/schemas/{}/tables/{} 200 SchemaConfig
PATCH /connections/{}/schemas/{}/tables/{}/columns/{} 200 SchemaConfig
DELETE /connections/{}/schemas/{}/tables/{}/columns/{} 200 -
GET /connections/{}/schemas/{}/tables/{}/columns 200 Columns
GET /connections/{}/state 200 State
PATCH /connections/{}/state 200 State
POST /connections/{}/sync 200 -
POST /connections/{}/test 200 Connection
GET /connector-sdk/packages 200 SdkPackage[]
POST /connector-sdk/packages 201 SdkPackage
GET /connector-sdk/packages/{} 200 SdkPackage
PATCH /connector-sdk/packages/{} 200 SdkPackage
DELETE /connector-sdk/packages/{} 200 -
GET /connector-sdk/packages/{}/download 200 -
GET /destinations 200 Destination[]
POST /destinations 201 Destination
GET /destinations/{} 200 Destination
PATCH /destinations/{} 200 Destination
DELETE /destinations/{} 200 -
GET /destinations/{}/certificates 200 Certificate[]
POST /destinations/{}/certificates 200 Certificate
GET /destinations/{}/certificates/{} 200 Certificate
DELETE /destinations/{}/certificates/{} 200 -
GET /destinations/{}/fingerprints 200 Fingerprint[]
POST /destinations/{}/fingerprints 201 Fingerprint
GET /destinations/{}/fingerprints/{} 200 Fingerprint
DELETE /destinations/{}/fingerprints/{} 200 -
POST /destinations/{}/test 200 Destination
GET /external-logging 200 ShortLogService[]
POST /external-logging 201 LogService
GET /external-logging/account 200 LogService
POST /external-logging/account 201 LogService
PATCH /external-logging/account 200 LogService
DELETE /external-logging/account 200 -
GET /external-logging/{} 200 LogService
PATCH /external-logging/{} 200 LogService
DELETE /external-logging/{} 200 -
POST /external-logging/{}/test 200 LogServiceTest
GET /external-secrets-managers 200 SecretsManager[]
POST /external-secrets-managers 201 SecretsManager
GET /external-secrets-managers-entities?esm_id&type 200 SecretsManagerEntity[]
GET /external-secrets-managers/{} 200 SecretsManager
PATCH /external-secrets-managers/{} 200 SecretsManager
DELETE /external-secrets-managers/{} 200 -
GET /external-secrets-managers/{}/entities?type 200 SecretsManagerEntity[]
GET /groups 200 Group[]
POST /groups 201 Group
GET /groups/{} 200 Group
PATCH /groups/{} 200 Group
DELETE /groups/{} 200 -
GET /groups/{}/connections?schema 200 Connection[]
GET /groups/{}/public-key 200 PublicKey
GET /groups/{}/service-account 200 ServiceAccount
POST /hvr/register-hub 200 HvrHub
GET /hybrid-deployment-agents?groupId 200 HybridAgent[]
POST /hybrid-deployment-agents 201 HybridAgentCreated
GET /hybrid-deployment-agents/{} 200 HybridAgent
DELETE /hybrid-deployment-agents/{} 200 -
PATCH /hybrid-deployment-agents/{}/re-auth 200 HybridAgentCreated
POST /hybrid-deployment-agents/{}/reset-credentials 200 -
GET /metadata/connector-types 200 ConnectorType[]
GET /metadata/connector-types/{} 200 ConnectorType
GET /private-links 200 PrivateLink[]
POST /private-links 201 PrivateLink
GET /private-links/{} 200 PrivateLink
PATCH /private-links/{} 200 PrivateLink
DELETE /private-links/{} 200 -
GET /proxy 200 ProxyAgentInList[]
POST /proxy 201 ProxyAgentCreated
GET /proxy/{} 200 -
DELETE /proxy/{} 200 -
GET /proxy/{}/connections 200 ProxyConnection[]
POST /proxy/{}/regenerate-secrets 200 ProxyAgentCreated
GET /transformation-projects 200 Project[]
POST /transformation-projects 201 Project
GET /transformation-projects/{} 200 Project
PATCH /transformation-projects/{} 200 Project
DELETE /transformation-projects/{} 200 -
POST /transformation-projects/{}/test 200 Project
GET /transformations?group_id&project_id&type 200 Transformation[]
POST /transformations 201 Transformation
GET /transformations/package-metadata?service&name 200 Package[]
GET /transformations/package-metadata/{} 200 Package
GET /transformations/{} 200 Transformation
PATCH /transformations/{} 200 Transformation
DELETE /transformations/{} 200 -
POST /transformations/{}/cancel 200 -
POST /transformations/{}/run 200 -
POST /transformations/{}/upgrade 200 -
GET /webhooks 200 Webhook[]
POST /webhooks/account 200 Webhook
POST /webhooks/group/{} 200 Webhook
GET /webhooks/{} 200 Webhook
PATCH /webhooks/{} 200 Webhook
DELETE /webhooks/{} 200 -
POST /webhooks/{}/test 200 WebhookTest
GET /groups/{}/users?active 200 User[]
POST /groups/{}/users 200 -
DELETE /groups/{}/users/{} 200 -
GET /roles 200 Role[]
GET /system-keys 200 SystemKey[]
POST /system-keys 201 SystemKey
GET /system-keys/{} 200 SystemKey
PATCH /system-keys/{} 200 SystemKey
DELETE /system-keys/{} 200 -
POST /system-keys/{}/rotate 200 SystemKey
GET /teams 200 Team[]
POST /teams 201 Team
GET /teams/{} 200 Team
PATCH /teams/{} 200 Team
DELETE /teams/{} 200 -
GET /teams/{}/connections 200 Membership[]
POST /teams/{}/connections 201 Membership
GET /teams/{}/connections/{} 200 Membership
PATCH /teams/{}/connections/{} 200 Membership
DELETE /teams/{}/connections/{} 200 -
GET /teams/{}/groups 200 Membership[]
POST /teams/{}/groups 201 Membership
GET /teams/{}/groups/{} 200 Membership
PATCH /teams/{}/groups/{} 200 Membership
DELETE /teams/{}/groups/{} 200 -
DELETE /teams/{}/role 200 -
GET /teams/{}/users?active 200 TeamMember[]
POST /teams/{}/users 201 TeamMember
GET /teams/{}/users/{} 200 TeamMember
PATCH /teams/{}/users/{} 200 TeamMember
DELETE /teams/{}/users/{} 200 -
GET /users?active 200 User[]
POST /users 201 User
DELETE /users/{} 200 -
GET /users/{} 200 User
PATCH /users/{} 200 User
GET /users/{}/connections 200 Membership[]
POST /users/{}/connections 201 Membership
GET /users/{}/connections/{} 200 Membership
PATCH /users/{}/connections/{} 200 Membership
DELETE /users/{}/connections/{} 200 Membership
GET /users/{}/groups 200 Membership[]
POST /users/{}/groups 201 Membership
GET /users/{}/groups/{} 200 Membership
PATCH /users/{}/groups/{} 200 -
DELETE /users/{}/groups/{} 200 -
DELETE /users/{}/role 200 -
";

/// Fields of the objects in answers, `!` where one is required. Types: `text`, `time` (RFC 3339), `int`, `bool`, `object`,
/// `any`, `A|B` (one of these texts), `[X]` (a list), `{X}` (a map by name), or another object of this table.
///
/// Lists and details have one row where they differ in optional fields only. `connected_by`, required in lists and not in
/// details, is optional here: it is null where a system key made the connection. What depends on the service (`config`) is
/// an object here.
pub const OBJECTS: &[(&str, &str)] = &[
    ("Account", "account_id! text, account_name text, user_id text, system_key_id text"),
    ("Group", "id! text, name! text, created_at! time"),
    (
        "Connection",
        "id! text, service! text, schema! text, paused! bool, status! Status, group_id! text, service_version! \
         int, connected_by text, created_at! time, succeeded_at time, failed_at time, pause_after_trial! bool, \
         sync_frequency! int, data_delay_threshold int, data_delay_sensitivity! \
         LOW|NORMAL|HIGH|CUSTOM|SYNC_FREQUENCY, private_link_id text, networking_method \
         Directly|SshTunnel|PrivateLink|ProxyAgent|UnmanagedProxyAgent|Unknown, proxy_agent_id text, \
         daily_sync_time text, schedule_type! text, setup_tests [SetupTest], source_sync_details object, \
         connect_card ConnectCard, connect_card_config ConnectCardConfig, hybrid_deployment_agent_id text, \
         destination_configuration DestinationConfiguration, destination_schema_names \
         FIVETRAN_NAMING|SOURCE_NAMING, external_secrets_manager_id text, config object, \
         external_secrets_keys_config object",
    ),
    (
        "Status",
        "tasks [Alert], warnings [Alert], setup_state! text, schema_status text, sync_state! text, update_state! \
         text, is_historical_sync! bool, rescheduled_for time",
    ),
    ("Alert", "code text, message text, details text"),
    ("SetupTest", "title! text, status! PASSED|SKIPPED|WARNING|FAILED|JOB_FAILED, message text, details any"),
    ("State", "state! object"),
    (
        "Destination",
        "id! text, service! text, region! text, group_id! text, time_zone_offset! text, setup_status! \
         INCOMPLETE|CONNECTED|BROKEN, daylight_saving_time_enabled bool, private_link_id text, networking_method \
         Directly|PrivateLink|SshTunnel|ProxyAgent, local_processing_agent_id text, hybrid_deployment_agent_id \
         text, proxy_agent_id text, external_secrets_manager_id text, setup_tests [SetupTest], config object",
    ),
    (
        "SchemaConfig",
        "enable_new_by_default bool, schemas! {SchemaSettings}, schema_change_handling! \
         ALLOW_ALL|ALLOW_COLUMNS|BLOCK_ALL",
    ),
    ("SchemaSettings", "name_in_destination! text, enabled! bool, tables! {TableSettings}"),
    (
        "TableSettings",
        "sync_mode SOFT_DELETE|HISTORY|LIVE, name_in_destination! text, enabled! bool, columns! {ColumnSettings}, \
         enabled_patch_settings! TablePatch, supports_columns_config! bool, supports_history_mode! bool",
    ),
    ("TablePatch", "allowed! bool, reason text, reason_code SYSTEM_TABLE|DELETED|OTHER"),
    (
        "ColumnSettings",
        "name_in_destination! text, enabled! bool, hashed! bool, enabled_patch_settings! ColumnPatch, \
         is_primary_key bool",
    ),
    ("ColumnPatch", "allowed! bool, reason text, reason_code SYSTEM_COLUMN|DELETED|OTHER"),
    ("Columns", "columns! {ColumnSettings}"),
    (
        "ConnectorType",
        "id! text, name! text, type! text, description text, icons [text], config object, auth object, icon_url \
         text, link_to_docs text, connector_class standard|lite, supported_features [Feature], link_to_erd text, \
         service_status general_availability|beta|private_preview|sunset|development, service_status_updated_at \
         time, external_secrets_keys_config object",
    ),
    (
        "Feature",
        "id \
         CUSTOM_DATA|CAPTURE_DELETES|DATA_BLOCKING|COLUMN_HASHING|RE_SYNC|HISTORY|API_CONFIGURABLE|PRIORITY_FIRST_SYNC|FIVETRAN_DATA_MODELS|PRIVATE_NETWORKING|AUTHORIZATION_VIA_API|ROW_FILTERING, \
         notes text",
    ),
    (
        "Webhook",
        "id! text, type! group|account, url! text, events! [text], active! bool, secret text, group_id text, \
         created_at! time, created_by! text",
    ),
    ("WebhookTest", "succeed! bool, status! int, message text"),
    ("ShortLogService", "id! text, service! text, enabled! bool"),
    ("LogService", "id! text, service! text, enabled! bool, config object"),
    ("LogServiceTest", "setup_tests [SetupTest]"),
    (
        "Transformation",
        "id! text, status! \
         NEW|SCHEDULING|RUNNING|TERMINATING|SUCCEEDED|FAILED|BLOCKED|CANCELED|PARTIALLY_SUCCEEDED, schedule! \
         TransformationSchedule, type! DBT_CORE|QUICKSTART, paused! bool, created_at! time, created_by_id! text, \
         last_started_at time, last_ended_at time, output_model_names [text], transformation_config object",
    ),
    (
        "TransformationSchedule",
        "cron [text], interval int, schedule_type! INTEGRATED|TIME_OF_DAY|INTERVAL|CRON, days_of_week \
         [MONDAY|TUESDAY|WEDNESDAY|THURSDAY|FRIDAY|SATURDAY|SUNDAY], time_of_day text, connection_ids [text], \
         transformation_ids [text], smart_syncing bool",
    ),
    (
        "Project",
        "id text, type DBT_CORE, status NOT_READY|READY|ERROR, errors [text], created_at time, created_by_id \
         text, group_id text, setup_tests [SetupTest], project_config object",
    ),
    (
        "Certificate",
        "id! text, name! text, hash! text, type! text, sha1! text, sha256! text, public_key! text, \
         validated_date! time, validated_by! text",
    ),
    (
        "ConnectCardAnswer",
        "connector_id! text, connect_card ConnectCard, connect_card_config ConnectCardConfig",
    ),
    ("Fingerprint", "id! text, hash! text, public_key! text, validated_date! time, validated_by! text"),
    (
        "SdkPackage",
        "id! text, connection_id text, created_by! text, last_updated_by! text, created_at! time, updated_at! \
         time, file_sha256_hash text",
    ),
    (
        "SecretsManager",
        "id text, type AWS_SECRET_MANAGER|AZURE_KEY_VAULT|HASHICORP_VAULT, name text, config object, \
         is_hybrid_deployment bool, created_at time, updated_at time",
    ),
    (
        "SecretsManagerEntity",
        "id text, name text, enabled bool, type SOURCE|DESTINATION, secret_manager_id text, created_at time",
    ),
    ("PublicKey", "public_key! text"),
    ("ServiceAccount", "service_account! text"),
    ("HvrHub", "access_token text, registration_id text"),
    (
        "HybridAgent",
        "id! text, version! text, enabled! bool, online! bool, usage [HybridAgentUse], display_name! text, \
         group_id! text, registered_at! time, created_by! text, deployment_type! \
         DOCKER|PODMAN|KUBERNETES|SNOWPARK, updated_at! time, last_used_at! time",
    ),
    (
        "HybridAgentCreated",
        "id! text, version! text, enabled! bool, online! bool, files HybridAgentFiles, token text, display_name! \
         text, group_id! text, registered_at! time, created_by! text, deployment_type! \
         DOCKER|PODMAN|KUBERNETES|SNOWPARK, updated_at! time, last_used_at! time",
    ),
    (
        "PrivateLink",
        "id! text, name! text, region! text, service! text, state! CREATING|UPDATING|DESTROYING|OK|FAIL, host \
         text, account_id text, cloud_provider! AWS|GCP|AZURE, created_at! time, created_by! text, state_summary! \
         text, resource_upstream_status text",
    ),
    (
        "ProxyAgentInList",
        "id text, account_id text, registered_at time, region text, created_by text, display_name text, version \
         text, status NOT_FOUND|CONNECTED|NOT_CONNECTED, connector_count int, destination_count int",
    ),
    ("ProxyAgentCreated", "agent_id! text, auth_token! text, client_cert! text, client_private_key! text"),
    ("ProxyConnection", "connection_id text"),
    (
        "Package",
        "id! text, name! text, version! text, connector_types [text], output_model_names [text], \
         configurable_variables object",
    ),
    ("ConnectCard", "token text, uri text"),
    ("ConnectCardConfig", "redirect_uri! text, hide_setup_guide bool, all_fields bool"),
    ("DestinationConfiguration", "virtual_warehouse text"),
    ("HybridAgentUse", "schema! text, service! text, connection_id! text"),
    ("HybridAgentFiles", "config_json! text, auth_json! text, docker_compose_yaml! text"),
    (
        "User",
        "id! text, email! text, verified! bool, invited bool, picture text, phone text, role! text, active! bool, given_name text, family_name text, logged_in_at! time, created_at! time",
    ),
    (
        "Role",
        "name! text, description text, scope! [text], is_custom! bool, is_deprecated! bool, replacement_role_name! text",
    ),
    (
        "SystemKey",
        "id text, name text, key text, secret text, permissions [Permission], created_at time, updated_at time, expired_at time, last_used_at time",
    ),
    ("Team", "id! text, name text, description text, role! text"),
    ("Membership", "id! text, role! text, created_at! time"),
    ("TeamMember", "user_id! text, role! text, created_at! time"),
    (
        "Permission",
        "resource_type ACCOUNT|USER|WEBHOOK|TEAM|ROLES|DESTINATION|TRANSFORMATION|REMOTE_EXECUTION_AGENT|CONNECTOR, access_level NONE|READ|MANAGE, resource_filter ResourceFilter",
    ),
    ("ResourceFilter", "ids [text], group_ids [text]"),
];
