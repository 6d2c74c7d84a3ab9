//! What clap cannot check: forms and the relations between values.

use axum::http::Uri;

use super::CommonArgs;

impl CommonArgs {
    /// Checks all values that can be checked without asking anyone.
    ///
    /// # Errors
    /// One sentence for everything that is wrong, naming the flag.
    pub(crate) fn validate(&self) -> Result<(), Vec<String>> {
        let mut problems = Vec::new();
        self.check_kafka(&mut problems);
        self.check_registry(&mut problems);
        if let Err(error) = crate::database::parse_url(&self.database.database_url) {
            problems.push(format!("{error:#}"));
        }
        if let Err(error) = crate::logs::filter(self.logs.log.as_deref(), crate::logs::USUAL) {
            problems.push(format!("{error:#}"));
        }
        if let Some(endpoint) = &self.telemetry.otlp_endpoint {
            check_url("--otlp-endpoint", endpoint, &mut problems);
        }
        if !(0.0..=1.0).contains(&self.telemetry.trace_sample_ratio) {
            problems.push(format!(
                "--trace-sample-ratio is {}; it must be between 0 and 1",
                self.telemetry.trace_sample_ratio
            ));
        }
        self.check_limits(&mut problems);
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    fn check_kafka(&self, problems: &mut Vec<String>) {
        for server in self.kafka.kafka_bootstrap_servers.split(',') {
            // librdkafka also takes a protocol in front.
            let address = server.trim().rsplit("://").next().unwrap_or_default();
            let well_formed = address
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
            if !well_formed {
                problems.push(format!(
                    "--kafka-bootstrap-servers: `{server}` is not of the form host:port"
                ));
            }
        }
        for property in &self.kafka.kafka_properties {
            let name = property.split_once('=').map(|(name, _)| name.trim());
            if !property.trim().is_empty() && name.is_none_or(str::is_empty) {
                // The value may be a secret: name the flag, not the text.
                problems.push("--kafka-property: a property is not of the form NAME=VALUE".into());
            }
        }
        let prefix = &self.kafka.topic_prefix;
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if prefix.len() > 128 || !prefix.chars().all(legal) {
            problems.push(format!(
                "--topic-prefix: `{prefix}` must be at most 128 letters, digits, `.`, `_` or `-`"
            ));
        }
    }

    fn check_registry(&self, problems: &mut Vec<String>) {
        if self.registry_config().urls.is_empty() {
            problems.push("--schema-registry-url names no address".into());
        }
        for url in &self.registry.schema_registry_url {
            check_url("--schema-registry-url", url.trim(), problems);
        }
    }

    fn check_limits(&self, problems: &mut Vec<String>) {
        let limits = &self.limits;
        if limits.backoff_first_ms > limits.backoff_max_ms {
            problems.push(format!(
                "--backoff-first-ms ({}) must not exceed --backoff-max-ms ({})",
                limits.backoff_first_ms, limits.backoff_max_ms
            ));
        }
        if limits.drain_timeout_ms > limits.shutdown_timeout_ms {
            problems.push(format!(
                "--drain-timeout-ms ({}) must not exceed --shutdown-timeout-ms ({})",
                limits.drain_timeout_ms, limits.shutdown_timeout_ms
            ));
        }
    }
}

fn check_url(flag: &str, url: &str, problems: &mut Vec<String>) {
    let well_formed = url.parse::<Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
    });
    if !well_formed {
        problems.push(format!(
            "{flag}: `{url}` is not an address of the form http://host:port"
        ));
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        common: CommonArgs,
    }

    const NEEDED: &[&str] = &[
        "service",
        "--kafka-bootstrap-servers",
        "one:9092,two:9092",
        "--schema-registry-url",
        "http://registry:8081/apis/ccompat/v7/,https://other",
        "--database-url",
        "postgres://user:secret@db:5432/inventory",
    ];

    fn args(more: &[&str]) -> CommonArgs {
        Command::try_parse_from(NEEDED.iter().chain(more))
            .unwrap()
            .common
    }

    fn problem(more: &[&str]) -> String {
        let problems = args(more).validate().unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems.concat()
    }

    #[test]
    fn the_needed_flags_suffice() {
        let args = args(&[]);
        assert_eq!(args.validate(), Ok(()));
        let settings = args.settings("inventory");
        assert_eq!(settings.kafka.group_id, "checkout-inventory");
        assert_eq!(settings.kafka.bootstrap_servers, "one:9092,two:9092");
        assert!(!settings.export_traces);
        assert_eq!(
            args.registry_config().urls,
            ["http://registry:8081/apis/ccompat/v7", "https://other"]
        );
        assert_eq!(args.http_address("inventory").to_string(), "127.0.0.1:8081");
    }

    #[test]
    fn defaults_are_those_of_the_runtime() {
        let ours = args(&[]).settings("order");
        let theirs = runtime::Settings::new(ours.kafka.clone());
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    }

    #[test]
    fn a_missing_flag_is_named() {
        let error = Command::try_parse_from(&NEEDED[..5]).err().unwrap();
        assert!(error.to_string().contains("--database-url"), "{error}");
    }

    #[test]
    fn a_prefix_names_group_and_topics() {
        let args = args(&["--topic-prefix", "trial."]);
        assert_eq!(
            args.settings("order").kafka.group_id,
            "trial.checkout-order"
        );
        assert_eq!(
            args.topic_names().name(contracts::Topic::OrderingCommands),
            "trial.ordering.commands"
        );
    }

    #[test]
    fn properties_are_taken_apart_at_the_first_equals_sign() {
        let args = args(&[
            "--kafka-property",
            "sasl.password=a=b,c",
            "--kafka-property",
            "security.protocol = SASL_SSL",
        ]);
        assert_eq!(args.validate(), Ok(()));
        assert_eq!(
            args.settings("order").kafka.properties,
            [
                ("sasl.password".into(), "a=b,c".into()),
                ("security.protocol".into(), "SASL_SSL".into())
            ]
        );
    }

    #[test]
    fn what_makes_no_sense_is_named_with_its_flag() {
        for (more, flag) in [
            (["--kafka-property", "nonsense"], "--kafka-property"),
            (["--topic-prefix", "a b"], "--topic-prefix"),
            (["--otlp-endpoint", "collector:4318"], "--otlp-endpoint"),
            (["--trace-sample-ratio", "1.5"], "--trace-sample-ratio"),
            (["--backoff-first-ms", "6000"], "--backoff-first-ms"),
            (["--drain-timeout-ms", "30000"], "--drain-timeout-ms"),
            (["--log", "info,=,"], "--log"),
        ] {
            let problem = problem(&more);
            assert!(problem.contains(flag), "{problem}");
        }
    }

    #[test]
    fn all_problems_are_told_at_once_and_no_secret_is() {
        let args = Command::try_parse_from([
            "service",
            "--kafka-bootstrap-servers",
            "broker",
            "--schema-registry-url",
            "registry",
            "--database-url",
            "postgres://user:secret@db:port/inventory",
            "--kafka-property",
            "secret",
        ])
        .unwrap();
        let problems = args.common.validate().unwrap_err();
        assert_eq!(problems.len(), 4, "{problems:?}");
        assert!(!problems.concat().contains("secret"), "{problems:?}");
    }

    #[test]
    fn a_limit_out_of_its_range_is_refused() {
        for more in [
            ["--max-batch-records", "0"],
            ["--http-timeout-ms", "0"],
            ["--database-pool-size", "0"],
        ] {
            let line = NEEDED.iter().chain(&more);
            let error = Command::try_parse_from(line).err().unwrap();
            assert!(error.to_string().contains(more[0]), "{error}");
        }
    }

    #[test]
    fn help_explains_every_flag_and_names_its_variable() {
        let mut command = Command::command();
        command.build();
        let help = command.clone().render_long_help().to_string();
        for argument in command.get_arguments() {
            let Some(long) = argument.get_long() else {
                continue;
            };
            if matches!(long, "help" | "check-config") {
                continue;
            }
            let variable = argument.get_env().map(|name| name.to_string_lossy());
            let variable = variable.unwrap_or_else(|| panic!("--{long} has no variable"));
            assert!(help.contains(&format!("--{long} ")), "--{long}");
            assert!(help.contains(&format!("[env: {variable}")), "{variable}");
            let text = argument.get_help().map(ToString::to_string);
            assert!(text.is_some_and(|text| text.len() > 10), "--{long}");
        }
    }

    #[test]
    fn help_shows_no_secret() {
        for argument in Command::command().get_arguments() {
            let id = argument.get_id().as_str();
            if id.contains("password") || id.contains("database_url") || id.contains("properties") {
                assert!(argument.is_hide_env_values_set(), "{id}");
            }
        }
    }
}
