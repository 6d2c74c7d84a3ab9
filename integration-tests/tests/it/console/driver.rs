//! A browser that tests drive: Chromium without a window, by its WebDriver.

use std::path::{Path, PathBuf};

use integration_tests::{PATIENCE, System, skipped};
use serde_json::{Value, json};
use stack::Process;
use tempfile::TempDir;
use thirtyfour::prelude::*;
use thirtyfour::support::base64_decode;
use tokio::time::{Instant, sleep};

/// What is looked for again and again is looked for so often.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(50);

/// How a page is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) name: &'static str,
    width: u32,
    height: u32,
    scheme: &'static str,
    /// Whether axe-core looks, too: once at each size and each scheme is enough.
    pub(super) is_judged: bool,
}

/// A desk and a phone, by day and by night.
pub(super) const LOOKS: &[Look] = &[
    look("desktop-light", 1_280, 900, "light", true),
    look("desktop-dark", 1_280, 900, "dark", false),
    look("phone-light", 360, 740, "light", false),
    look("phone-dark", 360, 740, "dark", true),
];

const fn look(
    name: &'static str,
    width: u32,
    height: u32,
    scheme: &'static str,
    is_judged: bool,
) -> Look {
    Look {
        name,
        width,
        height,
        scheme,
        is_judged,
    }
}

/// Chromium and its driver, as Debian calls them and others do.
pub(super) struct Programs {
    browser: PathBuf,
    driver: PathBuf,
}

impl Programs {
    /// Those of this machine; `None`, with a line that says so, where one is missing.
    pub(super) fn find() -> Option<Self> {
        let browser = ["chromium", "chromium-browser", "google-chrome"]
            .iter()
            .find_map(|name| in_path(name));
        let driver = in_path("chromedriver");
        match (browser, driver) {
            (Some(browser), Some(driver)) => Some(Self { browser, driver }),
            _ => {
                skipped(
                    "the console is not looked at in a browser: no chromium and chromedriver \
                     here; on Debian, `apt-get install chromium chromium-driver`",
                );
                None
            }
        }
    }
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let programs = folders.iter().map(|folder| folder.join(name));
    programs.into_iter().find(|program| program.is_file())
}

/// The driver's server; it ends, and its browsers with it, when this is dropped.
pub(super) struct Driver {
    programs: Programs,
    process: Process,
    url: String,
    folder: TempDir,
}

impl Drop for Driver {
    fn drop(&mut self) {
        // What has ended already cannot be killed.
        let _ = self.process.kill9();
    }
}

/// A driver that listens, and its port. One that ends before it does is started again: it
/// wants the port that it has found free of one protocol for the other one as well.
async fn listening(system: &System, programs: &Programs) -> (Process, u16) {
    let begin = Instant::now();
    loop {
        let process = system
            .run_beside(
                "chromedriver",
                programs.driver.clone(),
                vec!["--port=0".to_owned()],
                Vec::new(),
            )
            .await;
        loop {
            let runs = process.pid().is_some();
            let log = std::fs::read_to_string(process.log()).unwrap_or_default();
            if let Some(port) = port(&log) {
                return (process, port);
            }
            let waits = begin.elapsed() < PATIENCE;
            assert!(waits, "the driver does not listen; it runs: {runs}; {log}");
            if !runs {
                break;
            }
            sleep(LOOK_AGAIN).await;
        }
    }
}

/// The port that a driver says it listens on.
fn port(log: &str) -> Option<u16> {
    let (_, rest) = log.split_once("started successfully on port ")?;
    rest.split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

impl Driver {
    pub(super) async fn start(system: &System, programs: Programs) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (process, port) = listening(system, &programs).await;
        Self {
            programs,
            process,
            url: format!("http://127.0.0.1:{port}"),
            folder,
        }
    }

    /// A browser with nothing remembered.
    pub(super) async fn browser(&self) -> Browser {
        let mut wanted = DesiredCapabilities::chrome();
        let profile = self.folder.path().join(uuid::Uuid::new_v4().to_string());
        let mut arguments = vec![
            "--headless=new".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-quic".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            "--hide-scrollbars".to_owned(),
            format!("--user-data-dir={}", profile.display()),
        ];
        // Its sandbox refuses to run as root.
        if is_root() {
            arguments.push("--no-sandbox".to_owned());
        }
        for argument in &arguments {
            wanted.add_arg(argument).expect("an argument");
        }
        let binary = self.programs.browser.to_str().expect("text");
        wanted.set_binary(binary).expect("a binary");
        let driver = WebDriver::new(&self.url, wanted).await.expect("a browser");
        let patient = driver.set_script_timeout(PATIENCE).await;
        patient.expect("it takes a limit");
        Browser { driver }
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

/// A browser with one page.
pub(super) struct Browser {
    pub(super) driver: WebDriver,
}

impl Browser {
    pub(super) async fn go(&self, url: &str) {
        self.driver
            .goto(url)
            .await
            .unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    async fn tell(&self, method: &str, params: Value) -> Value {
        let told = self.driver.cdp().send_raw(method, params).await;
        told.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Takes the size and the colours of this look.
    pub(super) async fn be(&self, look: Look) {
        self.tell(
            "Emulation.setDeviceMetricsOverride",
            json!({
                "width": look.width,
                "height": look.height,
                "deviceScaleFactor": 1,
                "mobile": false,
            }),
        )
        .await;
        let scheme = json!({ "name": "prefers-color-scheme", "value": look.scheme });
        let still = json!({ "name": "prefers-reduced-motion", "value": "reduce" });
        let media = json!({ "features": [scheme, still] });
        self.tell("Emulation.setEmulatedMedia", media).await;
    }

    /// Keeps a picture of the whole page in the build's folder, for who looks at it.
    pub(super) async fn picture(&self, name: &str, look: Look) {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .parent()
            .expect("a target folder")
            .join("console-screenshots");
        std::fs::create_dir_all(&folder).expect("a folder");
        let height = self
            .script("return document.documentElement.scrollHeight")
            .await;
        let clip = json!({ "x": 0, "y": 0, "width": look.width, "height": height, "scale": 1 });
        let taken = self
            .tell(
                "Page.captureScreenshot",
                json!({
                    "captureBeyondViewport": true,
                    "optimizeForSpeed": true,
                    "clip": clip,
                }),
            )
            .await;
        let picture = base64_decode(taken["data"].as_str().expect("text")).expect("base64");
        std::fs::write(folder.join(format!("{name}-{}.png", look.name)), picture).expect("written");
    }

    /// From the next page on, pages run no scripts, as if it had been set so.
    pub(super) async fn refuse_scripts(&self) {
        let refuse = json!({ "value": true });
        self.tell("Emulation.setScriptExecutionDisabled", refuse)
            .await;
    }

    /// What a script returns.
    pub(super) async fn script(&self, script: &str) -> Value {
        let ran = self.driver.execute(script, Vec::new()).await;
        ran.unwrap_or_else(|error| panic!("{script}: {error}"))
            .json()
            .clone()
    }

    /// Waits until a script returns true.
    pub(super) async fn until(&self, what: &str, script: &str) {
        let begin = Instant::now();
        while self.script(&format!("return Boolean({script})")).await != json!(true) {
            assert!(begin.elapsed() < PATIENCE, "{what}: {}", self.text().await);
            sleep(LOOK_AGAIN).await;
        }
    }

    /// The element, as soon as it is there.
    pub(super) async fn find(&self, css: &str) -> WebElement {
        let begin = Instant::now();
        loop {
            match self.driver.find(By::Css(css)).await {
                Ok(found) => return found,
                Err(error) => {
                    let late = begin.elapsed() >= PATIENCE;
                    assert!(!late, "{css}: {error}: {}", self.text().await);
                }
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    pub(super) async fn click(&self, css: &str) {
        let clicked = self.find(css).await.click().await;
        clicked.unwrap_or_else(|error| panic!("{css}: {error}"));
    }

    pub(super) async fn type_into(&self, css: &str, text: &str) {
        let typed = self.find(css).await.send_keys(text).await;
        typed.unwrap_or_else(|error| panic!("{css}: {error}"));
    }

    /// All that can be read on the page.
    pub(super) async fn text(&self) -> String {
        let body = self.driver.find(By::Css("body")).await.expect("a body");
        body.text().await.expect("text")
    }

    /// Presses keys, whatever has the focus.
    pub(super) async fn press(&self, keys: impl Into<TypingData>) {
        let pressed = self.driver.action_chain().send_keys(keys).perform().await;
        pressed.expect("pressed");
    }

    /// Ends the browser.
    pub(super) async fn quit(self) {
        self.driver.quit().await.expect("ended");
    }
}
