use serde_json::{Value, json};

use crate::harness::{World, request};

fn project(group: &str) -> Value {
    json!({ "group_id": group, "type": "DBT_CORE", "run_tests": false, "project_config": {
        "dbt_version": "1.9", "default_schema": "marts", "git_remote_url": "git@github.com:a/b.git", "threads": "4",
        "environment_vars": ["DBT_TARGET=x"] } })
}

fn transformation(project: &str) -> Value {
    json!({ "type": "DBT_CORE", "paused": "true", "schedule": { "schedule_type": "TIME_OF_DAY", "time_of_day": "14:30",
        "days_of_week": ["MONDAY"] }, "transformation_config": { "project_id": project, "name": "nightly",
        "steps": [{ "name": "run", "command": "dbt run" }] } })
}

#[test]
fn what_there_is_none_of_lists_empty_is_not_found_and_is_refused_with_the_reason() {
    let world = World::new();
    let group = world.group("Lake");
    world.post(
        "/v1/destinations",
        json!({ "group_id": group, "service": "shelf", "config": { "bucket": "b" } }),
    );
    let connection = world.connection(&group, "shop");
    let certificates = format!("/v1/destinations/{group}/certificates");
    let fingerprints = format!("/v1/destinations/{group}/fingerprints");
    for (path, kind, says) in [
        (certificates.as_str(), "NotFound_Certificate", "bindings"),
        (fingerprints.as_str(), "NotFound_Fingerprint", "SSH"),
        ("/v1/private-links", "NotFound_PrivateLink", "Tunnel"),
        ("/v1/proxy", "NotFound_ProxyAgent", "proxy"),
        ("/v1/hybrid-deployment-agents", "NotFound_RemoteExecutionAgent", "Cloudflare account"),
        ("/v1/external-secrets-managers", "NotFound_ExternalSecretsManager", "FIVETRAN_VAULT_KEYS"),
        ("/v1/connector-sdk/packages", "NotFound_ConnectorSdkPackage", "Python"),
    ] {
        assert_eq!(world.get(&format!("{path}?limit=1000")).data(), &json!({ "items": [] }), "{path}");
        world.get(&format!("{path}?limit=0")).refused(400, "InvalidInput", &["limit"]);
        world.get(&format!("{path}/x")).refused(404, kind, &["x"]);
        world.delete(&format!("{path}/x")).refused(404, kind, &["x"]);
        world.post(path, json!({ "name": "x" })).refused(400, "NotSupported", &[says]);
    }
    for (path, says) in [
        (format!("/v1/connections/{connection}/connect-card"), "Connect Card"),
        ("/v1/hvr/register-hub".to_owned(), "HVR"),
    ] {
        world.post(&path, json!({})).refused(400, "NotSupported", &[says]);
    }
    world.get(&format!("/v1/groups/{group}/public-key")).refused(400, "NotSupported", &["SSH"]);
    world.get(&format!("/v1/groups/{group}/service-account")).refused(400, "NotSupported", &["Google"]);
    for (path, code) in [
        ("/v1/connections/none/certificates", "NotFound_Connection"),
        ("/v1/destinations/none/certificates/x", "NotFound_Destination"),
        ("/v1/groups/none/public-key", "NotFound_Group"),
    ] {
        world.get(path).refused(404, code, &["none"]);
    }
    // A package is uploaded as multipart, which is refused for what it is and not for its type.
    let mut upload = request("POST", "/v1/connector-sdk/packages", None);
    upload.headers.retain(|(name, _)| name != "Content-Type");
    upload.headers.push(("content-type".to_owned(), "multipart/form-data; boundary=x".to_owned()));
    upload.body = "--x--".into();
    world.send(upload).refused(400, "NotSupported", &["Python"]);
}

#[test]
fn transformations_and_projects_are_kept_as_they_were_defined() {
    let world = World::new();
    let group = world.group("Lake");
    let made = world.post("/v1/transformation-projects", project(&group));
    assert_eq!(made.status, 201);
    let project_id = made.data()["id"].as_str().unwrap().to_owned();
    assert_eq!((&made.data()["status"], &made.data()["group_id"]), (&json!("NOT_READY"), &json!(group)));
    assert_eq!(made.data()["project_config"]["threads"], 4);
    let one = format!("/v1/transformation-projects/{project_id}");
    let patched = world.patch(&one, json!({ "project_config": { "git_branch": "main" } }));
    assert_eq!(patched.data()["project_config"]["git_branch"], "main");
    assert_eq!(patched.data()["project_config"]["dbt_version"], "1.9", "what is left out stays");

    let made = world.post("/v1/transformations", transformation(&project_id));
    assert_eq!(made.status, 201);
    let data = made.data();
    assert_eq!((&data["status"], &data["paused"]), (&json!("NEW"), &json!(true)));
    assert_eq!(
        data["schedule"],
        json!({ "schedule_type": "TIME_OF_DAY", "time_of_day": "14:30", "days_of_week": ["MONDAY"] })
    );
    let id = data["id"].as_str().unwrap();
    let path = format!("/v1/transformations/{id}");
    let patched = world.patch(
        &path,
        json!({ "paused": false, "schedule": { "schedule_type": "INTERVAL", "interval": "60" } }),
    );
    assert_eq!(patched.data()["schedule"], json!({ "schedule_type": "INTERVAL", "interval": 60 }));
    assert_eq!(patched.data()["transformation_config"]["name"], "nightly");
    let connection = world.connection(&group, "shop");
    let quick = json!({ "type": "QUICKSTART", "schedule": { "schedule_type": "INTEGRATED" },
        "transformation_config": { "connection_ids": [connection] } });
    assert_eq!(world.post("/v1/transformations", quick).status, 201);
    for (query, count) in
        [("", 2), ("?type=QUICKSTART", 1), (&*format!("?project_id={project_id}"), 1), ("?group_id=none", 0)]
    {
        let listed = world.get(&format!("/v1/transformations{query}"));
        assert_eq!(listed.data()["items"].as_array().unwrap().len(), count, "{query}");
    }
    for action in ["run", "cancel", "upgrade"] {
        world.post(&format!("{path}/{action}"), json!({})).refused(400, "NotSupported", &["dbt"]);
        world.post(&format!("/v1/transformations/none/{action}"), json!({})).refused(
            404,
            "NotFound_Transformation",
            &[],
        );
    }
    world.post(&format!("{one}/test"), json!({})).refused(400, "NotSupported", &["dbt"]);
    world.delete(&one).refused(409, "IllegalState", &["transformations"]);
    world.delete(&path);
    world.delete(&one);
    world.get(&path).refused(404, "NotFound_Transformation", &[id]);
    world.get(&one).refused(404, "NotFound_TransformationProject", &[&project_id]);
}

#[test]
fn a_project_is_not_deleted_under_a_transformation_that_is_far_down_the_list() {
    let world = World::new();
    let group = world.group("Lake");
    let create = |path: &str, body: Value| {
        let created = world.post(path, body);
        assert_eq!(created.status, 201, "{}", created.json);
        created.data()["id"].as_str().unwrap().to_owned()
    };
    let [first, second] = [0, 1].map(|_| create("/v1/transformation-projects", project(&group)));
    // More than a page of the largest size.
    for _ in 0..1000 {
        create("/v1/transformations", transformation(&first));
    }
    world.clock.advance_seconds(1);
    let last = create("/v1/transformations", transformation(&second));
    let path = format!("/v1/transformation-projects/{second}");
    world.delete(&path).refused(409, "IllegalState", &["transformations"]);
    assert_eq!(world.delete(&format!("/v1/transformations/{last}")).status, 200);
    assert_eq!(world.delete(&path).status, 200);
}

#[test]
fn definitions_that_could_never_run_are_refused_with_the_field() {
    let world = World::new();
    let group = world.group("Lake");
    let with = |mut body: Value, pointer: &str, value: Value| {
        *body.pointer_mut(pointer).unwrap() = value;
        body
    };
    let projects = "/v1/transformation-projects";
    for (pointer, value, says) in [
        ("/group_id", json!(null), "group_id"),
        ("/run_tests", json!(true), "run_tests"),
        ("/type", json!("QUICKSTART"), "type"),
        ("/type", json!("COALESCE"), "type"),
        ("/project_config", json!({}), "project_config.dbt_version"),
        ("/project_config/threads", json!(0), "project_config.threads"),
        ("/project_config/environment_vars", json!(["X=1"]), "environment_vars[0]"),
    ] {
        world.post(projects, with(project(&group), pointer, value)).refused(400, "InvalidInput", &[says]);
    }
    world.post(projects, with(project(&group), "/group_id", json!("none"))).refused(
        404,
        "NotFound_Group",
        &["none"],
    );
    let made = world.post(projects, project(&group));
    let id = made.data()["id"].as_str().unwrap();
    for (pointer, value, says) in [
        ("/schedule", json!(null), "schedule"),
        ("/schedule", json!({ "schedule_type": "INTERVAL" }), "schedule.interval"),
        ("/schedule", json!({ "schedule_type": "CRON", "cron": [] }), "schedule.cron"),
        ("/schedule/schedule_type", json!("SOMETIMES"), "schedule.schedule_type"),
        ("/schedule/time_of_day", json!("14:15"), "schedule.time_of_day"),
        ("/schedule/days_of_week", json!(["FUNDAY"]), "schedule.days_of_week"),
        ("/transformation_config/name", json!(null), "transformation_config.name"),
        ("/transformation_config/steps", json!([{ "name": "x" }]), "steps[0].command"),
    ] {
        world.post("/v1/transformations", with(transformation(id), pointer, value)).refused(
            400,
            "InvalidInput",
            &[says],
        );
    }
    let connection = world.connection(&world.group("Sea"), "elsewhere");
    let mine = world.connection(&group, "shop");
    let integrated = |names: Value| {
        let mut schedule = json!({ "schedule_type": "INTEGRATED" });
        schedule.as_object_mut().unwrap().extend(names.as_object().unwrap().clone());
        with(transformation(id), "/schedule", schedule)
    };
    let kept = world.post("/v1/transformations", integrated(json!({ "connection_ids": [mine] })));
    let path = format!("/v1/transformations/{}", kept.data()["id"].as_str().unwrap());
    for (names, says) in [
        (json!({ "connection_ids": [mine, "none"] }), "schedule.connection_ids[1]"),
        (json!({ "connection_ids": [connection] }), "schedule.connection_ids[0]"),
        (json!({ "transformation_ids": ["none"] }), "schedule.transformation_ids[0]"),
    ] {
        let body = integrated(names);
        world.post("/v1/transformations", body.clone()).refused(400, "InvalidInput", &[says]);
        world.patch(&path, json!({ "schedule": body["schedule"] })).refused(400, "InvalidInput", &[says]);
    }
    world.post("/v1/transformations", transformation("none")).refused(
        404,
        "NotFound_TransformationProject",
        &["none"],
    );
}
