use std::rc::Rc;

use fivetran_do::api::RateLimits;
use serde_json::json;

use crate::harness::{World, request};

#[test]
fn every_key_has_an_allowance_of_its_own_and_is_told_when_to_come_back() {
    let mut world = World::new();
    world.services.rate_limits = Rc::new(RateLimits::new(3));
    let (_, other) = world.user("account", "ada", Some("Account Reviewer"));
    for left in ["2", "1", "0"] {
        let reply = world.get("/v1/groups");
        assert_eq!(
            (reply.header("x-rate-limit"), reply.header("x-rate-limit-remaining")),
            (Some("3"), Some(left))
        );
    }
    for refused in [world.get("/v1/groups"), world.post("/v1/groups", json!({ "name": "x" }))] {
        refused.refused(429, "TooManyRequests", &["1200 seconds"]);
        assert_eq!(refused.header("retry-after"), Some("1200"));
        assert_eq!(refused.header("x-rate-limit-remaining"), Some("0"));
    }
    let theirs = world.as_key(&other, "GET", "/v1/groups", None);
    assert_eq!((theirs.status, theirs.header("x-rate-limit-remaining")), (200, Some("2")));
    assert_eq!(theirs.data()["items"], json!([]), "nothing was created by the refused request");
    world.clock.advance_seconds(1_200);
    assert_eq!(world.get("/v1/groups").status, 200);
    let mut open = request("GET", "/healthz", None);
    open.headers.clear();
    assert!(world.send(open).header("x-rate-limit").is_none());
}

#[test]
fn zero_is_no_limit() {
    let mut world = World::new();
    world.services.rate_limits = Rc::new(RateLimits::new(0));
    let reply = world.get("/v1/groups");
    assert!(reply.status == 200 && reply.header("x-rate-limit").is_none());
}
