//! Carts published from the command line, with their outcomes.

use integration_tests::{Options, System, product};

use super::{run, texts};

#[tokio::test(flavor = "multi_thread")]
async fn carts_are_submitted_and_their_outcomes_awaited() {
    let system = System::start("ctl_submit", Options::default()).await;
    let sku = product();
    system.set_stock(&sku, 100).await;
    let generate = |product: &str, more: &[&str]| {
        let line = [
            "checkout",
            "submit",
            "--json",
            "--generate",
            "5",
            "--product",
        ];
        [&line[..], &[product], more].concat().join(" ")
    };
    let submit = async |line: &str, status: i32| {
        let arguments: Vec<&str> = line.split(' ').collect();
        run(&system, &arguments).await.json(status)
    };
    let two = format!("{sku}=2");
    let shown = submit(&generate(&two, &[]), 0).await;
    assert_eq!(shown["created"], 5, "{shown:#}");
    assert_eq!(texts(&shown["carts"], "outcome"), vec!["OrderCreated"; 5]);
    assert!(shown["carts"][0]["milliseconds"].is_u64(), "{shown:#}");
    assert_eq!(system.stock(&sku).await, (100, 10));

    // From a file: one that makes no sense, and one that comes again.
    let id = shown["carts"][0]["cartId"].as_str().expect("a cart");
    let folder = std::env::temp_dir().join(uuid::Uuid::new_v4().to_string());
    std::fs::create_dir(&folder).expect("a folder");
    let file = folder.join("carts.json");
    let item = format!(r#"{{"productId": "{sku}", "quantity": 1, "unitPrice": 10}}"#);
    let text =
        format!(r#"{{"items": [{item}], "total": 9}} [{{"cartId": "{id}", "items": [{item}]}}]"#);
    std::fs::write(&file, text).expect("written");
    let path = file.to_str().expect("text");
    let shown = submit(&format!("checkout submit --json {path}"), 1).await;
    assert_eq!(
        texts(&shown["carts"], "detail"),
        ["INVALID_CART", "ALREADY_ORDERED"],
        "{shown:#}"
    );
    std::fs::write(&file, "{}").expect("written");
    let ran = run(&system, &["checkout", "submit", path]).await;
    assert_eq!(ran.status, Some(2));
    assert!(
        ran.errors.contains("carts.json") && ran.errors.contains("items"),
        "{}",
        ran.errors
    );
    std::fs::remove_dir_all(&folder).expect("removed");

    // Nobody answers in time.
    system.stop("orchestrator").await;
    let shown = submit(&generate(&two, &["--wait-seconds", "1"]), 1).await;
    assert_eq!(shown["open"], 5, "{shown:#}");
}
