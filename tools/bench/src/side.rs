//! A variant of the system that is measured: an installation with services of
//! its own settings.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use checkoutctl::stock;
use contracts::{Codec, RecordType};
use stack::{Installation, Service, ServiceOptions, Services, Stack};

use crate::carts;
use crate::cli::{Delivery, Options};
use crate::driver::Driver;
use crate::traffic::STATISTICS_INTERVAL_MS;

/// How the services of a variant differ from those of the working tree.
#[derive(Debug, Default)]
pub(crate) struct Variant {
    /// What a person calls it.
    pub(crate) label: String,
    /// Variables of all its services.
    pub(crate) environment: Vec<(String, String)>,
    /// The folder of its services' programs, where they are others.
    pub(crate) programs: Option<PathBuf>,
}

/// One variant, running.
pub(crate) struct Side {
    /// What a person calls it.
    pub(crate) name: String,
    pub(crate) installation: Installation,
    pub(crate) services: Services,
    pub(crate) driver: Arc<Driver>,
}

impl Side {
    /// Starts a variant whose services differ so.
    pub(crate) async fn start(
        stack: &Stack,
        name: &str,
        variant: Variant,
        options: &Options,
    ) -> anyhow::Result<Self> {
        let label = variant.label;
        let installation = stack.new_installation(name, options.partitions).await?;
        let mut service_options = ServiceOptions::none();
        for service in Service::ALL {
            service_options = service_options.instances(*service, options.instances);
        }
        let transactions = options.delivery == Delivery::ExactlyOnce;
        service_options = service_options.env("PUBLIC_TRANSACTIONS", transactions.to_string());
        // One that the variant has takes the place of this one.
        service_options = service_options.env(
            "KAFKA_PROPERTIES",
            format!("statistics.interval.ms={STATISTICS_INTERVAL_MS}"),
        );
        for (name, value) in variant.environment {
            service_options = service_options.env(name, value);
        }
        if let Some(folder) = variant.programs {
            service_options = service_options.programs(folder);
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
