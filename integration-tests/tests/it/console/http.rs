//! What the pages show and do, by plain HTTP, as without scripts.

use contracts::messages::{CartCheckedOut, SagaState};
use integration_tests::carts::cart;
use integration_tests::load::Load;
use integration_tests::{IMPATIENT, Options, Outcome, QUICK_BRAKE, System, product};
use uuid::Uuid;

use super::{Console, OPERATOR, SignedIn, TOKEN, letters, values};

/// A product whose name tries to be markup.
const HOSTILE: &str = "<script>alert('sku')</script>";
/// Carts a second while payment does not answer, so that its brake closes.
const RATE: f64 = 12.0;
async fn stuck(system: &System, sku: &str, number: usize) -> Vec<CartCheckedOut> {
    let carts: Vec<_> = (0..number).map(|_| cart(sku, 1, 700)).collect();
    system.publish_all(&carts.iter().collect::<Vec<_>>()).await;
    for cart in &carts {
        system.snapshot(cart, SagaState::Stuck).await;
    }
    carts
}

/// Waits until a page of the console says all of this.
pub(super) async fn until_said(system: &System, console: &Console, path: &str, texts: &[&str]) {
    let mut page = String::new();
    let missing = |page: &str| texts.iter().find(|text| !page.contains(**text)).copied();
    system
        .until(&format!("{path} says {texts:?}"), async || {
            page = console.page(path).await;
            if let Some(text) = missing(&page) {
                eprintln!("{path} does not say {text:?} yet");
            }
            missing(&page).is_none()
        })
        .await;
}

/// The rows of the overview's table of outcomes: outcome, reason, and number.
fn outcome<'p>(page: &'p str, outcome: &str, reason: &str) -> Option<&'p str> {
    let row = format!(
        "<th scope=\"row\">{outcome} <span class=\"reason\">{reason}</span></th><td class=\"number\">"
    );
    let (_, rest) = page.split_once(&row)?;
    let (_, total) = rest.split_once("<td class=\"number\">")?;
    total.split('<').next()
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_how_checkouts_go_and_mend_them() {
    let options = Options {
        environment: IMPATIENT,
        ..Options::default()
    };
    let system = System::start("console", options).await;
    let sku = product();
    system.set_stock(&sku, 100).await;
    let open = Console::start(&system, &[]).await;
    let console = Console::start(&system, &[("CONSOLE_TOKEN", TOKEN)]).await;

    // What is counted after its first look is a rise.
    let looked = "id=\"rates\">Checkouts</h2><p><span class=\"as-of\">as of <time datetime=";
    until_said(&system, &open, "/", &[looked]).await;

    // One that is ordered, one that fails, and some that payment leaves stuck.
    let ordered = cart(&sku, 1, 700);
    let failed = cart(HOSTILE, 2, 700);
    system.publish_all(&[&ordered, &failed]).await;
    assert!(matches!(
        system.outcome(&ordered).await,
        Outcome::Created(_)
    ));
    assert!(matches!(system.outcome(&failed).await, Outcome::Failed(_)));
    let times = ["Half", "95 %", "99 %"].map(|part| format!("<dt>{part} within</dt><dd>"));
    let times: Vec<&str> = times.iter().map(String::as_str).collect();
    until_said(&system, &open, "/", &times).await;
    system.stop("payment").await;
    let carts = stuck(&system, &sku, 4).await;

    overview(&system, &open, &ordered).await;
    lists(&open, &carts, &failed).await;
    single_carts(&open, &ordered, &failed, &carts[0]).await;
    read_only(&open, &carts[0]).await;
    let operator = console.sign_in().await;
    actions(&system, &console, &operator, &carts).await;
    letters::by_reason(&system, &console, &operator).await;
    letters::of_a_cart(&system, [&open, &console], &operator, &ordered).await;
    away(&system, &open, &carts[0]).await;
}

async fn overview(system: &System, console: &Console, ordered: &CartCheckedOut) {
    let counted = async || {
        let page = console.page("/").await;
        outcome(&page, "completed", "") == Some("1")
            && outcome(&page, "failed", "OUT_OF_STOCK") == Some("1")
            && page.contains(
                "href=\"/sagas?state=STUCK\"><span class=\"label\">Stuck</span> <strong>4",
            )
    };
    system.until("the overview counts outcomes", counted).await;
    let address = format!("/carts/{}", ordered.cart_id);
    // Brakes are off here; who is away, is told.
    let brake = "<th scope=\"row\">payments</th><td data-name=\"Brake\"><span class=\"mark plain\">off</span>";
    let texts = [
        brake,
        &address,
        "unreachable",
        "a second, over the last minute",
        "payments.commands",
    ];
    until_said(system, console, "/", &texts).await;
}

async fn lists(console: &Console, stuck: &[CartCheckedOut], failed: &CartCheckedOut) {
    let carts = async |query: &str| {
        let mut carts = values(&console.page(&format!("/sagas{query}")).await, "shown");
        carts.sort();
        carts
    };
    let mut all: Vec<String> = stuck.iter().map(|cart| cart.cart_id.to_string()).collect();
    all.sort();
    assert_eq!(carts("").await, all);
    assert_eq!(carts("?state=STUCK&older_than=0s").await, all);
    assert_eq!(carts("?failure=OUT_OF_STOCK").await, Vec::<String>::new());
    let of_failure = carts("?failure=OUT_OF_STOCK&ended=1").await;
    assert_eq!(of_failure, [failed.cart_id.to_string()]);
    assert!(carts("?older_than=1d").await.is_empty());
    let after = carts(&format!("?after={}", all[0])).await;
    assert_eq!(after, all[1..]);
    let page = console.get("/sagas?state=lost", None).await;
    assert_eq!(page.status, 400);
    assert!(page.text.contains("COMPENSATING"), "{}", page.text);
}

async fn single_carts(
    console: &Console,
    ordered: &CartCheckedOut,
    failed: &CartCheckedOut,
    stuck: &CartCheckedOut,
) {
    let page = async |cart: &CartCheckedOut, texts: &[&str]| {
        let page = console.page(&format!("/carts/{}", cart.cart_id)).await;
        for text in texts {
            assert!(page.contains(text), "{text}: {page}");
        }
        page
    };
    let texts = [
        "ended with order",
        "<title id=\"hops-title\">",
        "ordering.OrderCreated",
        "cart-service → orchestrator",
        "authorizations",
    ];
    let shown = page(ordered, &texts).await;
    assert!(!shown.contains("data-live"), "it does not change any more");
    let shown = page(failed, &["failed with OUT_OF_STOCK", "&lt;script&gt;alert"]).await;
    assert!(!shown.contains("<script>alert"), "{shown}");
    let shown = page(
        stuck,
        &[
            "the payment service has",
            "checkoutctl sagas retry",
            "data-live",
        ],
    )
    .await;
    assert!(shown.contains("payments.VoidAuthorization"), "{shown}");

    let found = console
        .get(&format!("/carts?id={}", stuck.cart_id), None)
        .await;
    assert_eq!(found.location, format!("/carts/{}", stuck.cart_id));
    let nobody = console
        .get(&format!("/carts/{}", Uuid::new_v4()), None)
        .await;
    assert_eq!(nobody.status, 404);
    assert!(nobody.text.contains("No checkout of this cart is known"));
}

async fn read_only(console: &Console, stuck: &CartCheckedOut) {
    let path = format!("/actions/sagas?action=RETRY&cart={}", stuck.cart_id);
    for answer in [
        console.get(&path, None).await,
        console
            .post("/actions/sagas", None, &[("action", "RETRY")])
            .await,
        console.get("/actions/letters?action=redrive", None).await,
    ] {
        assert_eq!(answer.status, 403, "{}", answer.text);
        assert!(answer.text.contains("CONSOLE_TOKEN"), "{}", answer.text);
    }
}

/// Asks for the page that confirms, and confirms.
pub(super) async fn confirm(
    console: &Console,
    operator: &SignedIn,
    path: &str,
    hidden: &str,
    more: &[(&str, &str)],
) -> String {
    let cookie = Some(operator.cookie.as_str());
    let asked = console.get(path, cookie).await.page();
    assert!(asked.contains("Nothing is done yet"), "{asked}");
    let chosen = values(&asked, hidden);
    assert!(!chosen.is_empty(), "{asked}");
    let action = values(&asked, "action").swap_remove(0);
    let mut fields = vec![
        ("csrf", operator.csrf.as_str()),
        ("action", action.as_str()),
        ("reason", "the test"),
    ];
    fields.extend(chosen.iter().map(|value| (hidden, value.as_str())));
    let step = values(&asked, "step");
    fields.extend(step.iter().map(|step| ("step", step.as_str())));
    fields.extend(more);
    let post = path.split('?').next().expect("a path");
    // Without the reason nothing is done.
    let without: Vec<_> = fields
        .iter()
        .copied()
        .filter(|(name, _)| *name != "reason")
        .collect();
    let refused = console.post(post, cookie, &without).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    console.post(post, cookie, &fields).await.page()
}

async fn actions(
    system: &System,
    console: &Console,
    operator: &SignedIn,
    stuck: &[CartCheckedOut],
) {
    let id = |number: usize| stuck[number].cart_id.to_string();
    let notes = async |cart: &str| -> Vec<String> {
        let cart: Uuid = cart.parse().expect("a cart");
        let sql = "SELECT operator FROM saga_transitions \
                   WHERE cart_id = $1 AND topic = 'ordering.operations' ORDER BY at";
        let rows = system.query("orchestrator", sql, &[&cart]).await;
        rows.iter().map(|row| row.get(0)).collect()
    };
    // Two at once, and what a dry run says of them.
    let path = format!("/actions/sagas?action=RETRY&cart={}&cart={}", id(0), id(1));
    let done = confirm(console, operator, &path, "saga", &[]).await;
    assert!(done.contains("Retry: 2 of 2 done"), "{done}");
    for number in 0..2 {
        let noted = notes(&id(number)).await;
        assert_eq!(noted, [format!("RETRY by {OPERATOR}: the test")]);
    }
    assert!(notes(&id(2)).await.is_empty());

    // What would be refused cannot be confirmed.
    let path = format!("/actions/sagas?action=COMPENSATE&cart={}", id(0));
    let asked = console.get(&path, Some(&operator.cookie)).await.page();
    assert!(asked.contains("already"), "{asked}");
    assert!(!asked.contains("name=\"reason\""), "{asked}");

    // A step taken for undone; the rest is undone by itself.
    let path = format!("/actions/sagas?action=RESOLVE&cart={}", id(2));
    let evidence = [("evidence", "the gateway shows no hold")];
    let done = confirm(console, operator, &path, "saga", &evidence).await;
    assert!(done.contains("Resolve: 1 of 1 done"), "{done}");
    assert!(matches!(
        system.outcome(&stuck[2]).await,
        Outcome::Failed(_)
    ));

    // A whole page: those that another one has ended since are left alone.
    let path = format!("/actions/sagas?all=ABANDON&shown={}", id(3));
    let done = confirm(console, operator, &path, "saga", &[]).await;
    assert!(done.contains("ABANDONED"), "{done}");
    let page = console.page(&format!("/carts/{}", id(3))).await;
    assert!(
        page.contains(&format!("ABANDON by {OPERATOR}: the test")),
        "{page}"
    );

    // A later checkout of the cart is not what was confirmed.
    let other = format!("{}.{}", id(0), Uuid::new_v4());
    let fields = [
        ("csrf", operator.csrf.as_str()),
        ("action", "RETRY"),
        ("reason", "the test"),
        ("saga", &other),
    ];
    let done = console
        .post("/actions/sagas", Some(&operator.cookie), &fields)
        .await;
    assert!(done.text.contains("was not touched"), "{}", done.text);
    assert_eq!(notes(&id(0)).await.len(), 1);
    // Nor does anything happen that another site asks for.
    let fields = [("action", "RETRY"), ("reason", "x"), ("saga", &other)];
    let forged = console
        .post("/actions/sagas", Some(&operator.cookie), &fields)
        .await;
    assert_eq!(forged.status, 403, "{}", forged.text);
}

/// What is away is said, and the rest is shown.
async fn away(system: &System, console: &Console, stuck: &CartCheckedOut) {
    system.stop("orchestrator").await;
    until_said(system, console, "/", &["Unreachable: cannot connect"]).await;
    let page = console.page("/").await;
    assert!(page.contains("Sagas by step"), "{page}");
    let page = console.page(&format!("/carts/{}", stuck.cart_id)).await;
    assert!(page.contains("What happened"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_brake_is_told_in_words_until_it_opens() {
    let options = Options {
        environment: QUICK_BRAKE,
        ..Options::default()
    };
    let system = System::start("console_brake", options).await;
    let console = Console::start(&system, &[]).await;
    let brake = |class: &str, words: &str| {
        format!(
            "<th scope=\"row\">payments</th><td data-name=\"Brake\">\
             <span class=\"mark {class}\">{words}</span>"
        )
    };
    let (open, closed) = (brake("good", "open"), brake("bad", "closed: no answers"));
    let outage = async {
        until_said(&system, &console, "/", &[open.as_str()]).await;
        system.freeze_instance("payment", 0).await;
        let told = [
            closed.as_str(),
            "<strong>payments is held back: it does not answer</strong>, since <time datetime=",
            "Whoever waits uses up no tries",
            "4 commands a second pass",
            "Look at the payment service",
        ];
        until_said(&system, &console, "/", &told).await;
        system.thaw_instance("payment", 0).await;
        until_said(&system, &console, "/", &[open.as_str()]).await;
    };
    let carts = system.load_during(Load::new(0, RATE), outage).await;
    system.assert_settled(&carts).await;
}
