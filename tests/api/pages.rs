//! Pages of every kind of list while others insert and delete between them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{World, shop_connection};

/// A list, and how to make and delete what is in it.
struct List {
    path: String,
    create: (String, Box<dyn Fn(usize) -> Value>),
    item: &'static str,
}

fn list(path: &str, create: &str, item: &'static str, body: impl Fn(usize) -> Value + 'static) -> List {
    List { path: path.to_owned(), create: (create.to_owned(), Box::new(body)), item }
}

impl List {
    fn create(&self, world: &World, at: usize) -> String {
        let (path, body) = &self.create;
        world.post(path, body(at)).data()["id"].as_str().unwrap().to_owned()
    }

    fn delete(&self, world: &World, id: &str) {
        world.delete(&format!("{}/{id}", self.item)).data();
    }
}

/// Lists by time and id: what is listed comes and goes one by one.
fn lists(world: &World) -> Vec<List> {
    let group = world.group("Lake");
    let connections = {
        let group = group.clone();
        move |at| shop_connection(&group, &format!("c{at}"))
    };
    let webhook = |_| json!({ "url": "https://hooks.example/x", "events": ["sync_end"], "active": false });
    let project = {
        let group = group.clone();
        move |_| {
            json!({ "group_id": group, "project_config": { "dbt_version": "1.9", "default_schema": "marts",
                "git_remote_url": "git@example.com:a/b.git" } })
        }
    };
    let of_group = format!("/v1/groups/{group}/connections");
    vec![
        list("/v1/groups", "/v1/groups", "/v1/groups", |at| json!({ "name": format!("g{at}") })),
        list("/v1/connections", "/v1/connections", "/v1/connections", connections.clone()),
        list(&of_group, "/v1/connectors", "/v1/connectors", connections),
        list("/v1/webhooks", "/v1/webhooks/account", "/v1/webhooks", webhook),
        list(
            "/v1/transformation-projects",
            "/v1/transformation-projects",
            "/v1/transformation-projects",
            project,
        ),
    ]
}

#[test]
fn what_exists_throughout_is_on_exactly_one_page_whatever_comes_and_goes_between() {
    let world = World::new();
    for list in lists(&world) {
        let before =
            world.get(&format!("{}?limit=1000", list.path)).data()["items"].as_array().unwrap().len();
        assert!(before <= 1, "{}", list.path);
        let mut made = Vec::new();
        for at in 0..30 {
            // Several share a microsecond, so that the id has to break ties.
            if at % 4 == 0 {
                world.clock.advance_seconds(1);
            }
            made.push(list.create(&world, at));
        }
        let mut stay = made.iter().cloned().collect::<BTreeSet<_>>();
        let mut seen: Vec<String> = Vec::new();
        let mut cursor = String::new();
        for page in 100.. {
            let reply = world.get(&format!("{}?limit=4{cursor}", list.path));
            let items = reply.data()["items"].as_array().unwrap();
            assert!(items.len() <= 4);
            seen.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
            let Some(next) = reply.data()["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
            // What the cursor stands on, what was seen long ago, what would be seen last: all go.
            let last = seen.last().cloned();
            let first = seen.iter().find(|id| stay.contains(*id)).cloned();
            let ahead = made.iter().rev().find(|id| stay.contains(*id) && !seen.contains(id)).cloned();
            for id in [last, first, ahead].into_iter().flatten() {
                if stay.remove(&id) {
                    list.delete(&world, &id);
                }
            }
            list.create(&world, page);
            assert!(page < 140, "{} does not end", list.path);
        }
        let distinct = seen.iter().cloned().collect::<BTreeSet<_>>();
        assert_eq!(distinct.len(), seen.len(), "{}: one is there twice", list.path);
        assert!(stay.len() > 5, "{}: {}", list.path, stay.len());
        assert!(stay.is_subset(&distinct), "{}: {:?} is missing", list.path, stay.difference(&distinct));
        // The next list begins without these.
        for item in world.get(&format!("{}?limit=1000", list.path)).data()["items"].as_array().unwrap() {
            if list.path != "/v1/groups" || item["name"] != "Lake" {
                list.delete(&world, item["id"].as_str().unwrap());
            }
        }
    }
}

#[test]
fn a_cursor_says_the_same_page_again_and_one_of_another_list_is_harmless() {
    let world = World::new();
    let lists = lists(&world);
    let cursors = lists.iter().map(|list| {
        for at in 0..3 {
            list.create(&world, 1000 + at + usize::from(list.path.contains("/groups/")) * 10);
        }
        let first = world.get(&format!("{}?limit=1", list.path));
        let next = first.data()["next_cursor"].as_str().unwrap().to_owned();
        let second = || world.get(&format!("{}?limit=1&cursor={next}", list.path)).json;
        assert_eq!(second(), second());
        assert_ne!(second()["data"]["items"], first.json["data"]["items"]);
        next
    });
    for cursor in cursors.collect::<Vec<_>>() {
        for list in &lists {
            let reply = world.get(&format!("{}?cursor={cursor}", list.path));
            assert!(reply.status == 200 || reply.status == 400, "{} {}", list.path, reply.json);
        }
    }
}
