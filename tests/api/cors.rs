//! Pages of other origins, in browsers.

use fivetran_do::api::Origins;

use crate::harness::{Reply, World, request};

fn ask(world: &World, method: &str, origin: Option<&str>) -> Reply {
    let mut request = request(method, "/v1/groups", None);
    if method == "OPTIONS" {
        request.headers.clear();
    }
    request.headers.extend(origin.map(|origin| ("Origin".to_owned(), origin.to_owned())));
    world.send(request)
}

#[test]
fn only_pages_of_the_listed_origins_may_call_and_they_may_send_and_read_what_clients_do() {
    let mut world = World::new();
    world.services.origins = Origins::listed("https://console.example/, http://localhost:5173");
    for origin in ["https://console.example", "http://localhost:5173", "https://Console.Example"] {
        let before = ask(&world, "OPTIONS", Some(origin));
        assert_eq!(before.status, 200);
        assert_eq!(before.header("access-control-allow-origin"), Some(origin));
        for method in ["GET", "POST", "PATCH", "DELETE"] {
            assert!(before.header("access-control-allow-methods").unwrap().contains(method));
        }
        for header in ["Authorization", "Content-Type", "Accept", "Idempotency-Key"] {
            assert!(before.header("access-control-allow-headers").unwrap().contains(header));
        }
        let answer = ask(&world, "GET", Some(origin));
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, Some(origin)));
        assert!(answer.header("access-control-expose-headers").unwrap().contains("Retry-After"));
        assert_eq!(answer.header("vary"), Some("Origin"));
        // A page without a key learns no more than anybody, but it can read why.
        let mut bare = request("GET", "/v1/groups", None);
        bare.headers = vec![("Origin".to_owned(), origin.to_owned())];
        let refused = world.send(bare);
        refused.refused(401, "AuthFailed", &["Missing"]);
        assert_eq!(refused.header("access-control-allow-origin"), Some(origin));
        assert!(refused.header("access-control-allow-credentials").is_none());
    }
    for other in
        ["https://evil.example", "https://console.example.evil", "http://console.example", "null", ""]
    {
        let answer = ask(&world, "OPTIONS", Some(other));
        assert!(answer.header("access-control-allow-origin").is_none(), "{other}");
        assert_eq!(answer.header("vary"), Some("Origin"));
    }
    assert!(ask(&world, "GET", None).header("access-control-allow-origin").is_none());
}

#[test]
fn without_a_list_no_page_may_and_a_star_is_every_page() {
    let mut world = World::new();
    let answer = ask(&world, "OPTIONS", Some("https://console.example"));
    assert!(answer.header("access-control-allow-origin").is_none() && answer.header("vary").is_none());
    world.services.origins = Origins::listed("*");
    let answer = ask(&world, "GET", Some("https://any.example"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://any.example"));
}
