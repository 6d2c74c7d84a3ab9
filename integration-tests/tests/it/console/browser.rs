//! The console in a browser: as it looks at a desk and on a phone, by day and by night; by
//! keyboard alone; without scripts; and as it changes by itself.

use contracts::Topic;
use contracts::messages::{CartCheckedOut, SagaState};
use integration_tests::carts::cart;
use integration_tests::{IMPATIENT, Options, System, product};
use serde_json::json;
use thirtyfour::prelude::*;

use super::axe::Axe;
use super::driver::{Browser, Driver, LOOKS, Programs};
use super::{Console, OPERATOR, TOKEN};

/// What every page has, whatever it shows. Returns what is missing.
const STRUCTURE: &str = "
const faults = [];
const count = (css) => document.querySelectorAll(css).length;
for (const css of ['h1', 'main', 'header', 'nav', 'footer', 'head > title', 'html[lang]'])
  if (count(css) !== 1) faults.push(count(css) + ' of ' + css);
const page = document.documentElement;
if (page.scrollWidth > page.clientWidth)
  faults.push('wider than its window: ' + page.scrollWidth + ' > ' + page.clientWidth);
for (const field of document.querySelectorAll('input:not([type=hidden]), select, textarea'))
  if (!(field.labels.length || field.getAttribute('aria-label')))
    faults.push('no label: ' + field.outerHTML);
for (const table of document.querySelectorAll('table')) {
  if (!table.caption) faults.push('a table without a caption');
  if (table.querySelector('th:not([scope])')) faults.push('a heading without scope');
  if (!table.closest('.wide')) faults.push('a table that does not scroll by itself');
}
for (const picture of document.querySelectorAll('svg'))
  if (!(picture.getAttribute('aria-label') || picture.querySelector('title')))
    faults.push('a picture without words');
const ids = [...document.querySelectorAll('[id]')].map((element) => element.id);
for (const id of ids) if (ids.filter((other) => other === id).length > 1) faults.push('twice: ' + id);
if (![...document.styleSheets].some((sheet) => sheet.cssRules.length > 0)) faults.push('no style');
return faults;
";

#[tokio::test(flavor = "multi_thread")]
async fn the_console_works_in_a_browser() {
    let Some(programs) = Programs::find() else {
        return;
    };
    let options = Options {
        environment: IMPATIENT,
        ..Options::default()
    };
    let system = System::start("console_browser", options).await;
    let console = Console::start(&system, &[("CONSOLE_TOKEN", TOKEN)]).await;
    let driver = Driver::start(&system, programs).await;
    let axe = tokio::task::block_in_place(Axe::install);
    let scene = Scene::prepare(&system).await;

    let browser = driver.browser().await;
    browser.be(LOOKS[0]).await;
    by_keyboard(&browser, &console, axe.as_ref()).await;
    looks(&browser, &console, &scene, axe.as_ref()).await;
    by_itself(&browser, &system, &console, &scene).await;
    by_clicking(&browser, &console, &scene, axe.as_ref()).await;
    without_scripts(&browser, &console, &scene).await;
    browser.quit().await;
}

/// What there is to look at.
struct Scene {
    sku: String,
    ordered: CartCheckedOut,
    failed: CartCheckedOut,
    stuck: CartCheckedOut,
    /// Its request is a dead letter, so it has no saga.
    dead: CartCheckedOut,
}

impl Scene {
    async fn prepare(system: &System) -> Self {
        let sku = product();
        system.set_stock(&sku, 1_000).await;
        // Enough to see curves and times of.
        let orders: Vec<_> = (0..30).map(|number| cart(&sku, 1, 700 + number)).collect();
        system.publish_all(&orders.iter().collect::<Vec<_>>()).await;
        let failed = cart("<script>alert('sku')</script>", 3, 1_250);
        system.publish(&failed).await;
        for cart in orders.iter().chain([&failed]) {
            system.outcome(cart).await;
        }
        let mut dead = cart(&sku, 1, 700);
        dead.event_id = orders[0].event_id;
        system.publish(&dead).await;
        assert_eq!(system.refusal(&dead).await, "CONTRACT_VIOLATED");
        system.stop("payment").await;
        let stuck = cart(&sku, 2, 4_900);
        system.publish(&stuck).await;
        system.snapshot(&stuck, SagaState::Stuck).await;
        for marker in ["one", "two"] {
            let topic = Topic::ShoppingCheckouts;
            let headers = [("marker", marker.as_bytes())];
            system
                .publish_raw(topic, Some(b"k"), Some(b"not framed"), &headers)
                .await;
            system.dead_letter(topic, marker).await;
        }
        Self {
            ordered: orders[0].clone(),
            sku,
            failed,
            stuck,
            dead,
        }
    }
}

/// What is wrong with the page that is shown, in every look; a picture of each is left.
async fn faults(browser: &Browser, name: &str, axe: Option<&Axe>) -> Vec<String> {
    let mut faults = Vec::new();
    for look in LOOKS {
        browser.be(*look).await;
        let found = browser.script(STRUCTURE).await;
        let mut found: Vec<String> = serde_json::from_value(found).expect("a list");
        if let Some(axe) = axe.filter(|_| look.is_judged) {
            found.extend(axe.faults(browser).await);
        }
        browser.picture(name, *look).await;
        let told = found.into_iter();
        faults.extend(told.map(|fault| format!("{name}, {}: {fault}", look.name)));
    }
    browser.be(LOOKS[0]).await;
    faults
}

/// Nothing of the page that is shown sticks out, and nobody is shut out.
async fn assert_sound(browser: &Browser, name: &str, axe: Option<&Axe>) {
    let faults = faults(browser, name, axe).await;
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Signs in without a mouse; the first stop is the link over the navigation.
async fn by_keyboard(browser: &Browser, console: &Console, axe: Option<&Axe>) {
    let sign_in = format!("{}/sign-in?next=%2Fsagas", console.url);
    browser.go(&sign_in).await;
    assert_sound(browser, "sign-in", axe).await;
    browser.go(&sign_in).await;
    browser.press(Key::Tab).await;
    let first = "document.activeElement.classList.contains('skip')";
    browser.until("the skip link has the focus", first).await;
    let seen = browser
        .script("return document.activeElement.getBoundingClientRect().left")
        .await;
    assert!(
        seen.as_f64() >= Some(0.0),
        "it is to be seen while it has the focus: {seen}"
    );
    for _ in 0..30 {
        if browser.script("return document.activeElement.id").await == json!("name") {
            break;
        }
        browser.press(Key::Tab).await;
    }
    browser.press(OPERATOR).await;
    browser.press(Key::Tab).await;
    browser.press("wrong, wrong, wrong").await;
    browser.press(Key::Enter).await;
    let refused = "document.querySelector('[role=alert]')";
    browser.until("the wrong token is refused", refused).await;
    assert_sound(browser, "sign-in-refused", axe).await;
    browser.type_into("#name", OPERATOR).await;
    browser.press(Key::Tab).await;
    browser.press(TOKEN).await;
    browser.press(Key::Enter).await;
    let signed_in = "location.pathname === '/sagas' && document.querySelector('.who strong')";
    browser.until("the right one lets in", signed_in).await;
}

/// Every page in every look.
async fn looks(browser: &Browser, console: &Console, scene: &Scene, axe: Option<&Axe>) {
    browser.go(&format!("{}/letters", console.url)).await;
    let letter = "return document.querySelector('input[name=letter]').value";
    let letter = browser.script(letter).await;
    let letter = letter.as_str().expect("a letter");
    let act = format!("/actions/sagas?action=RESOLVE&cart={}", scene.stuck.cart_id);
    let pages = [
        ("sagas", "/sagas?ended=1".to_owned()),
        ("cart-ordered", format!("/carts/{}", scene.ordered.cart_id)),
        ("cart-stuck", format!("/carts/{}", scene.stuck.cart_id)),
        ("cart-dead-letter", format!("/carts/{}", scene.dead.cart_id)),
        ("letters", "/letters".to_owned()),
        ("confirm", act),
        (
            "letters-confirm",
            format!("/actions/letters?action=redrive&letter={letter}"),
        ),
        ("problem", "/carts/seven".to_owned()),
        // The last, since what it shows is looked at from time to time.
        ("overview", "/".to_owned()),
    ];
    let mut found = Vec::new();
    for (name, path) in &pages {
        browser.go(&format!("{}{path}", console.url)).await;
        match *name {
            "letters" => browser.click("summary").await,
            "overview" => {
                let sampled = "document.querySelectorAll('.curve path').length > 0 \
                               && document.querySelector('.alarm a[href*=STUCK]') \
                               && document.querySelector('.alarm a[href=\"/letters\"]') \
                               && document.body.innerText.includes('COMPLETED')";
                browser.until("there is something to show", sampled).await;
            }
            _ => {}
        }
        found.extend(faults(browser, name, axe).await);
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// What changes is seen without loading the page again, and what somebody has done to the
/// page stays.
async fn by_itself(browser: &Browser, system: &System, console: &Console, scene: &Scene) {
    browser.go(&format!("{}/sagas", console.url)).await;
    browser.script("window.loadedOnce = true").await;
    let choice = format!("document.getElementById('choose-{}')", scene.stuck.cart_id);
    browser.script(&format!("{choice}.focus()")).await;
    browser.press(" ").await;
    browser
        .until("it is chosen", &format!("{choice}.checked"))
        .await;

    let another = cart(&scene.sku, 1, 900);
    system.publish(&another).await;
    system.snapshot(&another, SagaState::Stuck).await;
    let row = format!("document.getElementById('saga-{}')", another.cart_id);
    let stuck = format!("{row} && {row}.innerText.includes('STUCK')");
    browser.until("another one is shown", &stuck).await;
    assert_eq!(
        browser.script("return window.loadedOnce").await,
        json!(true)
    );
    let kept = format!("return {choice}.checked && document.activeElement === {choice}");
    assert_eq!(browser.script(&kept).await, json!(true));

    // Paused, it stays as it is, also on the next page.
    browser.click("#pause").await;
    browser
        .until(
            "it says so",
            "document.getElementById('live-status').textContent === 'Paused.'",
        )
        .await;
    browser.go(&console.url).await;
    let pressed = "document.getElementById('pause').getAttribute('aria-pressed') === 'true'";
    browser.until("it is still paused", pressed).await;
    browser.click("#pause").await;
    let on = "document.getElementById('live-status').textContent === 'Updates by itself.'";
    browser.until("it goes on", on).await;
}

/// From the page of a cart to what came of it.
async fn by_clicking(browser: &Browser, console: &Console, scene: &Scene, axe: Option<&Axe>) {
    let page = format!("{}/carts/{}", console.url, scene.stuck.cart_id);
    browser.go(&page).await;
    browser.click("a.button[href*='RETRY']").await;
    browser
        .until("it is asked why", "document.getElementById('reason')")
        .await;
    // The browser itself asks for what is required.
    browser.click("form.confirm button").await;
    let missing =
        "document.querySelector('#reason:invalid') && location.pathname === '/actions/sagas'";
    browser
        .until("nothing is sent without a reason", missing)
        .await;
    browser
        .type_into("#reason", "payment is looked after")
        .await;
    browser.click("form.confirm button").await;
    browser
        .until(
            "it was done",
            "document.querySelector('h1').innerText === 'Retry: 1 of 1 done'",
        )
        .await;
    assert_sound(browser, "result", axe).await;
    browser.go(&page).await;
    let noted =
        format!("document.body.innerText.includes('RETRY by {OPERATOR}: payment is looked after')");
    browser.until("the history has it", &noted).await;
    // From a cart without a saga to what became of its letter.
    let page = format!("{}/carts/{}", console.url, scene.dead.cart_id);
    browser.go(&page).await;
    browser.click("a.button[href*='action=discard']").await;
    browser
        .until("it is asked why", "document.getElementById('reason')")
        .await;
    browser.type_into("#reason", "the shop mends it").await;
    browser.click("form.confirm button").await;
    let discarded = "document.querySelector('h1').innerText === '1 of 1 letters discarded'";
    browser.until("it was discarded", discarded).await;
    assert_sound(browser, "letters-result", axe).await;
    // And out.
    browser.click(".who button").await;
    browser
        .until("signed out", "document.querySelector('.who a')")
        .await;
}

/// All of it works without scripts, but for what changes by itself.
async fn without_scripts(browser: &Browser, console: &Console, scene: &Scene) {
    browser.refuse_scripts().await;
    browser.go(&format!("{}/sagas", console.url)).await;
    let refresh = browser.find(".live noscript a").await;
    assert!(
        refresh.is_displayed().await.expect("known"),
        "a way to look again"
    );
    let pause = browser.find("#pause").await;
    assert!(
        !pause.is_displayed().await.expect("known"),
        "of no use here"
    );
    browser.click("#state-FAILED").await;
    browser.click("form.filters button").await;
    let failed = format!("#saga-{}", scene.failed.cart_id);
    browser.find(&failed).await;
    browser
        .type_into("#find", &scene.ordered.cart_id.to_string())
        .await;
    browser.press(Key::Enter).await;
    browser.find("svg.hops").await;
    browser.picture("no-scripts", LOOKS[0]).await;
    browser
        .go(&format!("{}/sign-in?next=%2Fletters", console.url))
        .await;
    browser.type_into("#name", OPERATOR).await;
    browser.type_into("#token", TOKEN).await;
    browser.click("form.confirm button").await;
    browser.find("fieldset.acts").await;
}
