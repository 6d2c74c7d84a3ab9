//! The console as operators use it: the program itself, on the real parts; by plain HTTP
//! (`http`, and of it dead letters: `letters`), and in a browser (`browser`).

mod axe;
mod browser;
mod driver;
mod http;
mod letters;

use integration_tests::{PATIENCE, System};
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use stack::{Process, Progress, Service};

/// The token of consoles that let operators act.
const TOKEN: &str = "0123456789abcdef";
/// The name that operators sign in by.
const OPERATOR: &str = "night shift";

/// A console that runs; it ends when this is dropped.
pub(crate) struct Console {
    url: String,
    http: reqwest::Client,
    process: Process,
}

impl Drop for Console {
    fn drop(&mut self) {
        // What has ended already cannot be killed.
        let _ = self.process.kill9();
    }
}

/// What the console answers.
struct Answer {
    status: u16,
    location: String,
    cookie: Option<String>,
    text: String,
}

impl Answer {
    /// The page, which must have been made.
    fn page(self) -> String {
        assert_eq!(self.status, 200, "{}", self.text);
        self.text
    }
}

/// Somebody who is signed in.
struct SignedIn {
    cookie: String,
    csrf: String,
}

impl Console {
    /// Starts one with the variables that `cargo stack up` writes, and a few of its own.
    pub(crate) async fn start(system: &System, variables: &[(&str, &str)]) -> Self {
        let installation = system.installation();
        let binaries = stack::binaries(&Progress::detect()).await.expect("built");
        let folder = std::env::temp_dir();
        let port_file = folder.join(format!("console-{}.port", uuid::Uuid::new_v4().simple()));
        let mut env: Vec<(String, String)> = [
            ("KAFKA_BOOTSTRAP_SERVERS", &installation.bootstrap_servers),
            ("SCHEMA_REGISTRY_URL", &installation.registry_url),
            ("TOPIC_PREFIX", &installation.topic_prefix),
            ("HTTP_LISTEN", &"127.0.0.1:0".to_owned()),
            ("HTTP_PORT_FILE", &port_file.display().to_string()),
            ("METRICS_INTERVAL_MS", &"200".to_owned()),
            ("LOOK_INTERVAL_MS", &"200".to_owned()),
            // Other tests keep the machine busy.
            ("HTTP_TIMEOUT_MS", &"180000".to_owned()),
            ("BACKEND_TIMEOUT_MS", &"60000".to_owned()),
            ("ACTION_WAIT_MS", &"60000".to_owned()),
            ("SCHEMA_REGISTRY_TIMEOUT_MS", &"60000".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .into();
        for service in Service::ALL {
            let name = service.name().to_uppercase();
            let database = installation.database_url(*service).to_owned();
            env.push((format!("{name}_DATABASE_URL"), database));
            let instances = system.instances(service.name()).await;
            let url = instances
                .first()
                .and_then(|instance| instance.http_url().ok());
            env.push((format!("{name}_HTTP_URL"), url.unwrap_or_default()));
        }
        env.extend(
            variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        let program = binaries.named("console");
        let process = system.run_beside("console", program, Vec::new(), env).await;
        let mut port = String::new();
        system
            .until("the console listens", async || {
                port = std::fs::read_to_string(&port_file).unwrap_or_default();
                !port.is_empty()
            })
            .await;
        std::fs::remove_file(&port_file).expect("removed");
        Self {
            url: format!("http://127.0.0.1:{}", port.trim()),
            http: reqwest::Client::builder()
                .redirect(Policy::none())
                .timeout(PATIENCE)
                .build()
                .expect("a client"),
            process,
        }
    }

    async fn get(&self, path: &str, cookie: Option<&str>) -> Answer {
        let mut request = self.http.get(format!("{}{path}", self.url));
        if let Some(cookie) = cookie {
            request = request.header(COOKIE, cookie);
        }
        Self::answer(request, path).await
    }

    async fn post(&self, path: &str, cookie: Option<&str>, fields: &[(&str, &str)]) -> Answer {
        let mut request = self.http.post(format!("{}{path}", self.url)).form(fields);
        if let Some(cookie) = cookie {
            request = request.header(COOKIE, cookie);
        }
        Self::answer(request, path).await
    }

    async fn answer(request: reqwest::RequestBuilder, path: &str) -> Answer {
        let response = request
            .send()
            .await
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        let header = |name| {
            let value: Option<&reqwest::header::HeaderValue> = response.headers().get(name);
            value
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        Answer {
            status: response.status().as_u16(),
            location: header(LOCATION).unwrap_or_default(),
            cookie: header(SET_COOKIE),
            text: response.text().await.expect("text"),
        }
    }

    /// A page, for somebody who only looks.
    async fn page(&self, path: &str) -> String {
        self.get(path, None).await.page()
    }

    async fn sign_in(&self) -> SignedIn {
        let fields = [("name", OPERATOR), ("token", TOKEN), ("next", "/")];
        let answer = self.post("/sign-in", None, &fields).await;
        assert_eq!((answer.status, answer.location.as_str()), (303, "/"));
        let cookie = answer.cookie.expect("a cookie");
        let cookie = cookie.split(';').next().expect("a value").to_owned();
        let page = self.get("/", Some(&cookie)).await.page();
        let csrf = values(&page, "csrf").swap_remove(0);
        SignedIn { cookie, csrf }
    }
}

/// The values of a form's hidden fields, or of its checkboxes, of this name.
fn values(page: &str, name: &str) -> Vec<String> {
    let before = format!("name=\"{name}\" value=\"");
    let parts = page.split(&before).skip(1);
    parts
        .filter_map(|part| part.split('"').next())
        .map(|value| value.replace("&amp;", "&"))
        .collect()
}
