//! A variant of the system that is measured: an installation with services of
//! its own settings.

use std::sync::Arc;

use anyhow::Context;
use checkoutctl::stock;
use contracts::{Codec, RecordType};
use stack::{Installation, Service, ServiceOptions, Services, Stack};

use crate::carts;
use crate::cli::Options;
use crate::driver::Driver;

/// One variant, running.
pub(crate) struct Side {
    /// What a person calls it.
    pub(crate) name: String,
    pub(crate) installation: Installation,
    pub(crate) services: Services,
    pub(crate) driver: Arc<Driver>,
}

impl Side {
    /// Starts a variant whose services have these variables.
    pub(crate) async fn start(
        stack: &Stack,
        name: &str,
        label: String,
        environment: &[(String, String)],
        options: &Options,
    ) -> anyhow::Result<Self> {
        let installation = stack.fresh_installation(name).await?;
        let mut service_options = ServiceOptions::none();
        for service in Service::ALL {
            service_options = service_options.instances(*service, options.instances);
        }
        for (name, value) in environment {
            service_options = service_options.env(name, value);
        }
        let services = stack
            .start_services(&installation, &service_options)
            .await
            .with_context(|| format!("the services of the variant {label}"))?;
        let writes: Vec<_> = [stock::WRITES, &[RecordType::CartCheckedOut]].concat();
        let codec =
            Codec::connect(&installation.registry(), installation.topics(), &writes).await?;
        stock::set(&installation.bootstrap_servers, &codec, &carts::stock()?).await?;
        let driver = Arc::new(Driver::open(&installation, &codec)?);
        Ok(Self {
            name: label,
            installation,
            services,
            driver,
        })
    }
}
