//! What exists only in WebAssembly, run as WebAssembly in Node: clock, randomness and the border to
//! JavaScript. What needs workerd is in tests/e2e.
#![cfg(target_arch = "wasm32")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use fivetran_do::core::ErrorKind;
use fivetran_do::platform::border;
use fivetran_do::platform::{WorkerClock, WorkerRandom, memory_bytes};
use fivetran_do::ports::{Clock, Random};
use serde_json::{Value, json};
use wasm_bindgen::JsValue;
use wasm_bindgen_test::wasm_bindgen_test;

/// 1 January 2026 in microseconds.
const THIS_PROJECT_BEGAN: i64 = 1_767_225_600_000_000;

#[wasm_bindgen_test]
fn the_clock_tells_microseconds_since_the_epoch() {
    let now = WorkerClock.now_micros();
    assert!(now > THIS_PROJECT_BEGAN, "{now} is in the past");
    assert!(now < THIS_PROJECT_BEGAN * 2, "{now} is not in microseconds");
    assert_eq!(WorkerClock.now_ms(), WorkerClock.now_micros() / 1000);
}

#[wasm_bindgen_test]
fn randomness_fills_the_whole_buffer_and_differs_each_time() {
    let (mut one, mut two) = ([0_u8; 64], [0_u8; 64]);
    WorkerRandom.fill(&mut one).unwrap();
    WorkerRandom.fill(&mut two).unwrap();
    assert_ne!(one, two);
    assert!(one[48..].iter().any(|byte| *byte != 0));
}

#[wasm_bindgen_test]
fn memory_is_counted_in_whole_pages() {
    assert!(memory_bytes() > 0);
    assert_eq!(memory_bytes() % 65_536, 0);
}

#[wasm_bindgen_test]
fn i7_json_crosses_the_border_and_back_unchanged() {
    let value = json!({
        "text": "zero\u{0} quote\" emoji \u{1f600}",
        "empty": "",
        "null": null,
        "numbers": [0, -1, border::MAX_EXACT, -border::MAX_EXACT, 0.1, 1e300, 5e-324],
        "nested": {"flag": true, "list": [[], {}]},
    });
    let there = border::to_js(&value).unwrap();
    assert!(there.is_object());
    assert_eq!(border::from_js::<Value>(&there).unwrap(), value);
}

#[wasm_bindgen_test]
fn i7_integers_that_javascript_would_round_are_refused_in_both_directions() {
    assert_eq!(border::exact_number(border::MAX_EXACT).unwrap(), 9_007_199_254_740_991.0);
    assert_eq!(border::exact_number(-border::MAX_EXACT).unwrap(), -9_007_199_254_740_991.0);
    for beyond in [border::MAX_EXACT + 1, -border::MAX_EXACT - 1, i64::MAX, i64::MIN] {
        assert_eq!(border::exact_number(beyond).unwrap_err().kind(), ErrorKind::Data);
        let read: Value = border::from_js(&JsValue::from_f64(beyond as f64)).unwrap();
        let error = border::check_exact("id", &read).unwrap_err();
        assert_eq!(error.remedy_text(), Some("Select CAST(id AS TEXT)"));
    }
    for fine in [json!(border::MAX_EXACT), json!(0.5), json!("9007199254740993"), json!(null)] {
        border::check_exact("id", &fine).unwrap();
    }
}

#[wasm_bindgen_test]
fn bytes_handed_to_javascript_survive_the_growth_of_our_memory() {
    let array = border::bytes(&[1, 2, 255, 0]);
    let grown = vec![7_u8; 4 << 20];
    assert_eq!(array.to_vec(), [1, 2, 255, 0]);
    assert_eq!(grown.len(), 4 << 20);
}

#[wasm_bindgen_test]
fn a_thrown_value_is_told_in_its_own_words() {
    assert_eq!(border::text(&js_sys::Error::new("disk full")), "disk full");
    assert_eq!(border::text(&JsValue::from_str("plain")), "plain");
    let error = js_sys::Error::new("moved");
    js_sys::Reflect::set(&error, &"retryable".into(), &JsValue::TRUE).unwrap();
    assert!(border::flag(&error, "retryable") && !border::flag(&error, "overloaded"));
}
