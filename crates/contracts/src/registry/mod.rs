//! The schema registry, through Confluent's API and nothing else.
//!
//! Schemas go through schema_registry_converter, which lacks time limits and
//! retries by default: both are added here. Compatibility rules, which it does
//! not know, go through plain HTTP.

mod config;
mod error;
mod retry;

use reqwest::{StatusCode, header::CONTENT_TYPE};
use schema_registry_converter::{
    async_impl::schema_registry::{SrSettings, get_schema_by_id, perform_sr_call, post_schema},
    schema_registry_common::{RegisteredSchema, SchemaType, SrCall, SuppliedSchema},
};
use serde::Deserialize;
use serde_json::json;

pub use config::RegistryConfig;
pub use error::RegistryError;
use retry::with_retries;

const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// A schema as the registry has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterSchema {
    /// Whether the schema is an Avro schema without references to others.
    pub is_plain_avro: bool,
    /// Its text.
    pub text: String,
}

/// A client of the schema registry. Cheap to clone.
///
/// Every call has a time limit and is repeated with back-off as often as the
/// configuration allows while the registry cannot be reached.
#[derive(Debug, Clone)]
pub struct Registry {
    config: RegistryConfig,
    settings: SrSettings,
    http: reqwest::Client,
}

impl Registry {
    /// Prepares a client; connects to nothing yet.
    ///
    /// # Errors
    /// When there is no URL, or one is not a URL.
    pub fn new(config: &RegistryConfig) -> Result<Self, RegistryError> {
        let config = config.checked()?;
        // TLS needs one provider for the whole process. Whoever came first has
        // set it, and then there is nothing to do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = || {
            reqwest::Client::builder()
                .timeout(config.timeout)
                .connect_timeout(config.timeout)
        };
        let invalid =
            |error: &dyn std::error::Error| RegistryError::Misconfigured(error::chain(error));
        let http = builder().build().map_err(|e| invalid(&e))?;

        let [first, rest @ ..] = config.urls.as_slice() else {
            return Err(RegistryError::Misconfigured("no URL".to_owned()));
        };
        let mut settings = SrSettings::new_builder(first.clone());
        for url in rest {
            settings.add_url(url.clone());
        }
        if let Some((user, password)) = &config.basic_auth {
            settings.set_basic_authorization(user, Some(password));
        }
        settings.set_timeout(config.timeout);
        let settings = settings.build_with(builder()).map_err(|e| invalid(&e))?;
        Ok(Self {
            config,
            settings,
            http,
        })
    }

    /// The configuration the client was made with.
    pub fn config(&self) -> &RegistryConfig {
        &self.config
    }

    /// The schema with this id; none if the registry says there is none.
    ///
    /// # Errors
    /// When the registry does not answer, or not as a registry.
    pub async fn schema(&self, id: u32) -> Result<Option<WriterSchema>, RegistryError> {
        let found = with_retries(&self.config, "look up a schema", async || {
            get_schema_by_id(id, &self.settings)
                .await
                .map_err(|e| self.explain(e))
        })
        .await;
        Ok(none_if_missing(found)?.map(WriterSchema::from))
    }

    /// The id under which a subject holds exactly this schema; none if the
    /// subject does not exist or holds other schemas only.
    ///
    /// # Errors
    /// When the registry does not answer, or not as a registry.
    pub async fn find(&self, subject: &str, schema: &str) -> Result<Option<u32>, RegistryError> {
        let body = json!({ "schema": schema, "schemaType": "AVRO" }).to_string();
        let found = with_retries(&self.config, subject, async || {
            perform_sr_call(&self.settings, SrCall::PostForVersion(subject, &body))
                .await
                .map_err(|e| self.explain(e))
        })
        .await;
        match none_if_missing(found)? {
            None => Ok(None),
            Some(found) => found.id.map(Some).ok_or_else(|| {
                RegistryError::Unintelligible(format!("{subject}: no id in the answer"))
            }),
        }
    }

    /// The newest schema of a subject; none if the subject does not exist.
    ///
    /// # Errors
    /// When the registry does not answer, or not as a registry.
    pub async fn latest(&self, subject: &str) -> Result<Option<String>, RegistryError> {
        let found = with_retries(&self.config, subject, async || {
            perform_sr_call(&self.settings, SrCall::GetLatest(subject))
                .await
                .map_err(|e| self.explain(e))
        })
        .await;
        Ok(none_if_missing(found)?.and_then(|found| found.schema))
    }

    /// Registers a schema under a subject, unless it is there already; returns
    /// its id.
    ///
    /// # Errors
    /// [`RegistryError::Incompatible`] when the subject's compatibility rule
    /// forbids it; else when the registry does not answer, or not as a registry.
    pub async fn register(&self, subject: &str, schema: &str) -> Result<u32, RegistryError> {
        with_retries(&self.config, subject, async || {
            let supplied = SuppliedSchema::new(None, SchemaType::Avro, schema.to_owned());
            post_schema(&self.settings, subject.to_owned(), supplied)
                .await
                .map(|registered| registered.id)
                .map_err(|e| self.explain(e))
        })
        .await
    }

    /// The compatibility rule that is set for a subject itself; none if it
    /// follows the registry's own rule.
    ///
    /// # Errors
    /// When the registry does not answer, or not as a registry.
    pub async fn compatibility(&self, subject: &str) -> Result<Option<String>, RegistryError> {
        let found = with_retries(&self.config, subject, async || {
            self.over_urls(|url| self.http.get(format!("{url}/config/{subject}")))
                .await
        })
        .await;
        let Some(answer) = none_if_missing(found)? else {
            return Ok(None);
        };
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Level {
            // Registries name the field differently when reading and writing.
            #[serde(alias = "compatibility")]
            compatibility_level: String,
        }
        serde_json::from_str::<Level>(&answer)
            .map(|level| Some(level.compatibility_level))
            .map_err(|e| RegistryError::Unintelligible(format!("{subject}: {e}")))
    }

    /// Whether a subject's compatibility rule allows this schema, in the light of
    /// the versions that are there; none if the subject does not exist.
    ///
    /// # Errors
    /// When the registry does not answer, or not as a registry.
    pub async fn is_compatible(
        &self,
        subject: &str,
        schema: &str,
    ) -> Result<Option<bool>, RegistryError> {
        let body = json!({ "schema": schema, "schemaType": "AVRO" }).to_string();
        let found = with_retries(&self.config, subject, async || {
            self.over_urls(|url| {
                self.http
                    .post(format!("{url}/compatibility/subjects/{subject}/versions"))
                    .header(CONTENT_TYPE, MEDIA_TYPE)
                    .body(body.clone())
            })
            .await
        })
        .await;
        let Some(answer) = none_if_missing(found)? else {
            return Ok(None);
        };
        #[derive(Deserialize)]
        struct Verdict {
            is_compatible: bool,
        }
        serde_json::from_str::<Verdict>(&answer)
            .map(|verdict| Some(verdict.is_compatible))
            .map_err(|e| RegistryError::Unintelligible(format!("{subject}: {e}")))
    }

    /// Sets the compatibility rule of a subject.
    ///
    /// # Errors
    /// When the registry refuses it, does not answer, or not as a registry.
    pub async fn set_compatibility(&self, subject: &str, level: &str) -> Result<(), RegistryError> {
        let body = json!({ "compatibility": level }).to_string();
        with_retries(&self.config, subject, async || {
            self.over_urls(|url| {
                self.http
                    .put(format!("{url}/config/{subject}"))
                    .header(CONTENT_TYPE, MEDIA_TYPE)
                    .body(body.clone())
            })
            .await
        })
        .await
        .map(drop)
    }

    /// Sends a request to each URL in turn until one answers; returns the text
    /// of the answer.
    async fn over_urls(
        &self,
        request: impl Fn(&str) -> reqwest::RequestBuilder,
    ) -> Result<String, RegistryError> {
        let mut last = RegistryError::Misconfigured("no URL".to_owned());
        for url in &self.config.urls {
            match self.send(request(url)).await {
                Err(error) if error.is_transient() => last = error,
                answer => return answer,
            }
        }
        Err(last)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<String, RegistryError> {
        let request = match &self.config.basic_auth {
            Some((user, password)) => request.basic_auth(user, Some(password)),
            None => request,
        };
        let unreachable = |e: reqwest::Error| self.config.unreachable(error::chain(&e));
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let text = answer.text().await.map_err(unreachable)?;
        if status.is_success() {
            return Ok(text);
        }
        Err(match serde_json::from_str::<error::Refusal>(&text) {
            Ok(refusal) => {
                RegistryError::from_refusal(&self.config, refusal.error_code, &refusal.message)
            }
            Err(_) if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN => {
                RegistryError::Refused(status.to_string())
            }
            Err(_) => self.config.unreachable(format!("status {status}")),
        })
    }

    fn explain(&self, error: schema_registry_converter::error::SRCError) -> RegistryError {
        error::explain(&self.config, &error)
    }
}

impl From<RegisteredSchema> for WriterSchema {
    fn from(schema: RegisteredSchema) -> Self {
        Self {
            is_plain_avro: schema.schema_type == SchemaType::Avro && schema.references.is_empty(),
            text: schema.schema,
        }
    }
}

fn none_if_missing<T>(found: Result<T, RegistryError>) -> Result<Option<T>, RegistryError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(RegistryError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
