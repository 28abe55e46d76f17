//! Where our answers differ from the published ones. A difference that could be mended cheaply was mended instead.

/// Reasons, with what differs for them: `METHOD /path` or `Object.field`.
pub const DEVIATIONS: &[(&str, &[&str])] = &[
    (
        "there is none of this here, and there cannot be: lists are empty, looking one up is a 404, making one is a 400 that \
         says why (tests/api/unavailable.rs)",
        &[
            "POST /connections/{}/fingerprints",
            "GET /connections/{}/fingerprints",
            "GET /connections/{}/fingerprints/{}",
            "POST /destinations/{}/certificates",
            "GET /destinations/{}/certificates",
            "GET /destinations/{}/certificates/{}",
            "POST /destinations/{}/fingerprints",
            "GET /destinations/{}/fingerprints",
            "GET /destinations/{}/fingerprints/{}",
            "POST /connections/{}/connect-card",
            "GET /groups/{}/public-key",
            "GET /groups/{}/service-account",
            "POST /connector-sdk/packages",
            "GET /connector-sdk/packages",
            "GET /connector-sdk/packages/{}",
            "PATCH /connector-sdk/packages/{}",
            "POST /external-secrets-managers",
            "GET /external-secrets-managers",
            "GET /external-secrets-managers/{}",
            "PATCH /external-secrets-managers/{}",
            "GET /external-secrets-managers/{}/entities",
            "GET /external-secrets-managers-entities",
            "POST /hvr/register-hub",
            "POST /hybrid-deployment-agents",
            "GET /hybrid-deployment-agents",
            "GET /hybrid-deployment-agents/{}",
            "PATCH /hybrid-deployment-agents/{}/re-auth",
            "POST /private-links",
            "GET /private-links",
            "GET /private-links/{}",
            "PATCH /private-links/{}",
            "POST /proxy",
            "GET /proxy",
            "GET /proxy/{}/connections",
            "POST /proxy/{}/regenerate-secrets",
            "GET /transformations/package-metadata",
            "GET /transformations/package-metadata/{}",
        ],
    ),
    (
        "optional, and about machinery that is not here: Connect Cards, virtual warehouses, external secrets managers, local \
         processing, masking of columns before the first sync",
        &[
            "Connection.connect_card",
            "Connection.connect_card_config",
            "Connection.destination_configuration",
            "Connection.external_secrets_keys_config",
            "ConnectorType.external_secrets_keys_config",
            "Destination.local_processing_agent_id",
            "Status.schema_status",
        ],
    ),
    (
        "published as 200, but the clients generated for it take 201 only",
        &["POST /connections/{}/certificates"],
    ),
    (
        "the specification shows one connector type where its text says all of them: the answer is a list",
        &["GET /public/connector-types"],
    ),
    ("no connector signs in by OAuth: every credential is in config", &["ConnectorType.auth"]),
    (
        "optional, for catalogues: a connector is documented by the schema of its configuration, not by pages and pictures",
        &[
            "ConnectorType.icons",
            "ConnectorType.icon_url",
            "ConnectorType.link_to_docs",
            "ConnectorType.link_to_erd",
            "ConnectorType.service_status_updated_at",
            "Feature.notes",
        ],
    ),
    ("optional: everything is in the message", &["Alert.details"]),
    (
        "tables and columns share a type in the document; of tables it is never answered",
        &["TablePatch.reason_code"],
    ),
    (
        "dbt projects are kept and not run, so testing one is a 400 that says so",
        &["POST /transformation-projects/{}/test"],
    ),
    (
        "published for this one of all deletions; deletions answer no data here",
        &["DELETE /users/{}/connections/{}"],
    ),
    (
        "required, and null for whoever never made a request: there is no true time to say",
        &["User.logged_in_at"],
    ),
    ("newer than the published specification: go-fivetran and Terraform read it", &["Connection.schedule"]),
    (
        "ours, beside the published ones: when the clock starts it next, its schedule in words, whether syncs carry everything, \
         the column that says what is new",
        &[
            "Connection.next_sync_at",
            "Connection.schedule_phrase",
            "Connection.sync_mode",
            "TableSettings.cursor_column",
        ],
    ),
];
