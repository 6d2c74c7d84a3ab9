//! Dead letters in the console: by reason and time, in pages, and on the page of their
//! cart.

use contracts::Topic;
use contracts::messages::CartCheckedOut;
use integration_tests::System;
use integration_tests::carts::cart;

use super::http::{confirm, until_said};
use super::{Console, OPERATOR, SignedIn, values};

pub(super) async fn by_reason(system: &System, console: &Console, operator: &SignedIn) {
    assert!(console.page("/letters").await.contains("No dead letters"));
    let topic = Topic::ShoppingCheckouts;
    for marker in ["one", "two", "three"] {
        let headers = [("marker", marker.as_bytes())];
        system
            .publish_raw(topic, Some(b"k"), Some(b"<b>not framed</b>"), &headers)
            .await;
        system.dead_letter(topic, marker).await;
    }
    let page = console.page("/letters").await;
    for text in [
        "NOT_FRAMED",
        "shopping.checkouts",
        "× 3",
        "It does not decode",
        "marker",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(
        console
            .page("/letters?code=NULL_VALUE")
            .await
            .contains("No dead letters")
    );
    let letters = values(&page, "letter");
    assert_eq!(letters.len(), 3, "{page}");
    until_said(system, console, "/", &["Dead letters</span> <strong>3"]).await;
    in_pages(system, &letters).await;

    // Redriven it comes back, since it is what it was; the other two are discarded.
    let path = format!("/actions/letters?action=redrive&letter={}", letters[0]);
    let done = confirm(console, operator, &path, "letter", &[]).await;
    assert!(done.contains("1 of 1 letters redriven"), "{done}");
    let shown = format!("&shown={}&shown={}", letters[1], letters[2]);
    let path = format!("/actions/letters?all=discard{shown}");
    let done = confirm(console, operator, &path, "letter", &[]).await;
    assert!(done.contains("2 of 2 letters discarded"), "{done}");
    system
        .until("it comes back", async || {
            let page = console.page("/letters").await;
            let open = values(&page, "letter");
            open.len() == 1 && !letters.contains(&open[0]) && page.contains(OPERATOR)
        })
        .await;
    let handled = console.page("/letters?handled=1").await;
    assert_eq!(values(&handled, "letter").len(), 4, "{handled}");
}

/// The address of the next page, where there is one.
fn next_page(page: &str) -> Option<String> {
    let (before, _) = page.split_once("\" rel=\"next\"")?;
    let (_, path) = before.rsplit_once("href=\"")?;
    Some(path.replace("&amp;", "&"))
}

/// The three letters on pages of two, and by time.
async fn in_pages(system: &System, letters: &[String]) {
    let console = Console::start(system, &[("PAGE_LETTERS", "2")]).await;
    let first = console.page("/letters?since=1h").await;
    for text in ["Letters 1 to 2 of 3", "× 3, 2 of them on this page"] {
        assert!(first.contains(text), "{text}: {first}");
    }
    let next = next_page(&first).expect("another page");
    assert!(next.contains("since=1h"), "{next}");
    let second = console.page(&next).await;
    assert!(second.contains("Letters 3 to 3 of 3"), "{second}");
    assert_eq!(next_page(&second), None, "{second}");
    let mut shown = values(&first, "letter");
    assert_eq!(shown.len(), 2, "{first}");
    shown.extend(values(&second, "letter"));
    shown.sort();
    let mut all = letters.to_vec();
    all.sort();
    assert_eq!(shown, all);

    let one = console
        .page(&format!("/letters?letter={}", letters[1]))
        .await;
    assert_eq!(values(&one, "letter"), letters[1..2]);
    // Put aside from now on.
    let none = console.page("/letters?since=0s").await;
    assert!(none.contains("No dead letters"), "{none}");
}

/// A cart whose request is a dead letter, and that has no saga: its page leads to what
/// can be done, or says what can be typed.
pub(super) async fn of_a_cart(
    system: &System,
    [read_only, console]: [&Console; 2],
    operator: &SignedIn,
    ordered: &CartCheckedOut,
) {
    let mut second = cart(&ordered.items[0].product_id, 1, 700);
    second.event_id = ordered.event_id;
    system.publish(&second).await;
    assert_eq!(system.refusal(&second).await, "CONTRACT_VIOLATED");
    let path = format!("/carts/{}", second.cart_id);
    let page = read_only.page(&path).await;
    let dlq = system.names.dlq(Topic::ShoppingCheckouts);
    let command = format!("<code>checkoutctl dlq redrive {dlq}:");
    assert_eq!(page.matches(&command).count(), 1, "{page}");
    assert!(!page.contains("/actions/"), "{page}");

    let page = console.get(&path, Some(&operator.cookie)).await.page();
    let way = |action: &str| {
        let link = format!("href=\"/actions/letters?action={action}&amp;letter=");
        let (_, rest) = page.split_once(&link).expect("a link");
        let letter = rest.split('"').next().expect("a letter");
        format!("/actions/letters?action={action}&letter={letter}")
    };
    let redrive = console.get(&way("redrive"), Some(&operator.cookie)).await;
    assert!(redrive.page().contains("Redrive 1 dead letters?"));
    let done = confirm(console, operator, &way("discard"), "letter", &[]).await;
    assert!(done.contains("1 of 1 letters discarded"), "{done}");
}
