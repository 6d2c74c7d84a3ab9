//! Flags and environment of the orchestrator alone.

use std::time::Duration;

use clap::Args;
use flow::Rules;

use crate::api::StreamLimits;
use crate::brake::controller::Limits;

/// Limits and waits of the saga.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Saga")]
pub(crate) struct SagaArgs {
    /// How long to wait for the first reply to a command before it is sent again, in
    /// milliseconds, for every step. The wait doubles with each try, and is up to a quarter
    /// longer. Default: each step's own, from 5000 to 10000.
    #[arg(
        long,
        env = "REPLY_WAIT_FIRST_MS",
        value_name = "MS",
        value_parser = clap::value_parser!(u64).range(1..=86_400_000)
    )]
    reply_wait_first_ms: Option<u64>,

    /// Longest wait for a reply, in milliseconds, for every step. Default: each step's own, from
    /// 30000 to 60000.
    #[arg(
        long,
        env = "REPLY_WAIT_MAX_MS",
        value_name = "MS",
        value_parser = clap::value_parser!(u64).range(1..=86_400_000)
    )]
    reply_wait_max_ms: Option<u64>,

    /// How often a command is sent before its step is in doubt and the checkout is undone,
    /// for every step. Default: each step's own, 6.
    #[arg(
        long,
        env = "REPLY_TRIES",
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=1_000)
    )]
    reply_tries: Option<u32>,

    /// How often a compensation is sent before its saga is reported stuck. It is sent on
    /// without end.
    #[arg(
        long,
        env = "STUCK_AFTER_TRIES",
        value_name = "N",
        default_value_t = 8,
        value_parser = clap::value_parser!(u32).range(1..=1_000)
    )]
    stuck_after_tries: u32,

    /// Most lines of a cart; a larger one fails as INVALID_CART.
    #[arg(
        long,
        env = "MAX_CART_ITEMS",
        value_name = "N",
        default_value_t = 500,
        value_parser = clap::value_parser!(u32).range(1..=5_000)
    )]
    max_cart_items: u32,

    /// How many requests for a checkout are remembered of one cart; further ones are
    /// rejected as TOO_MANY_ATTEMPTS.
    #[arg(
        long,
        env = "MAX_CHECKOUTS_PER_CART",
        value_name = "N",
        default_value_t = 32,
        value_parser = clap::value_parser!(u32).range(1..=1_000)
    )]
    max_checkouts_per_cart: u32,

    /// How long the history of sagas is kept, in hours; 0: for ever.
    #[arg(
        long,
        env = "HISTORY_RETENTION_HOURS",
        value_name = "HOURS",
        default_value_t = 720,
        value_parser = clap::value_parser!(u32).range(0..=876_000)
    )]
    history_retention_hours: u32,

    /// How old a checkout may become by waiting for a participant that is held back by its
    /// brake, in seconds; it is then undone and fails as TIMED_OUT, where a command is out as
    /// soon as the participant acknowledges the compensation.
    #[arg(
        long,
        env = "CHECKOUT_LIMIT_SECONDS",
        value_name = "SECONDS",
        default_value_t = 600,
        value_parser = clap::value_parser!(u64).range(1..=604_800)
    )]
    checkout_limit_seconds: u64,
}

/// Flags that contradict each other.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("--{of}-first-ms {first} exceeds --{of}-max-ms {max}; make it at most as large")]
pub(crate) struct FirstWaitExceedsLongest {
    of: &'static str,
    first: u64,
    max: u64,
}

impl SagaArgs {
    /// How long the history is kept; `None`: for ever.
    pub(crate) fn history_retention(&self) -> Option<Duration> {
        service::hours(self.history_retention_hours)
    }

    /// The rules that sagas are run with.
    pub(crate) fn rules(&self) -> Result<Rules, FirstWaitExceedsLongest> {
        if let (Some(first), Some(max)) = (self.reply_wait_first_ms, self.reply_wait_max_ms)
            && first > max
        {
            return Err(FirstWaitExceedsLongest {
                of: "reply-wait",
                first,
                max,
            });
        }
        Ok(Rules {
            max_items: self.max_cart_items as usize,
            max_checkouts_per_cart: self.max_checkouts_per_cart as usize,
            stuck_after_tries: self.stuck_after_tries,
            first_wait: self.reply_wait_first_ms.map(Duration::from_millis),
            max_wait: self.reply_wait_max_ms.map(Duration::from_millis),
            tries: self.reply_tries,
            checkout_limit: Duration::from_secs(self.checkout_limit_seconds),
            ..Rules::default()
        })
    }
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Switch {
    /// In use.
    On,
    /// Not in use.
    Off,
}

/// The brakes of the participants. Each instance has brakes of its own, so rates add up.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Brake")]
pub(crate) struct BrakeArgs {
    /// Whether commands are held back from a participant that is silent or far behind, until it
    /// answers again.
    #[arg(long, env = "BRAKE", value_enum, default_value_t = Switch::On)]
    brake: Switch,

    /// Pause between two looks at whether participants answer, in milliseconds.
    #[arg(
        long,
        env = "BRAKE_POLL_MS",
        value_name = "MS",
        default_value_t = 1_000,
        value_parser = clap::value_parser!(u64).range(10..=60_000)
    )]
    brake_poll_ms: u64,

    /// How long a participant may leave commands without any answer before its brake closes, in
    /// milliseconds. Make it longer than a participant usually takes.
    #[arg(
        long,
        env = "BRAKE_SILENCE_MS",
        value_name = "MS",
        default_value_t = 5_000,
        value_parser = clap::value_parser!(u64).range(10..=3_600_000)
    )]
    brake_silence_ms: u64,

    /// How many commands to one participant may be out, over all instances, before its brake
    /// closes; it opens again from half of that.
    #[arg(
        long,
        env = "BRAKE_MAX_WAITING",
        value_name = "N",
        default_value_t = 10_000,
        value_parser = clap::value_parser!(u64).range(1..=10_000_000)
    )]
    brake_max_waiting: u64,

    /// How many commands a second pass a closed brake, to find out whether the participant
    /// answers again; at least one a poll.
    #[arg(
        long,
        env = "BRAKE_PROBES_PER_SECOND",
        value_name = "N",
        default_value_t = 5,
        value_parser = clap::value_parser!(u32).range(1..=1_000)
    )]
    brake_probes_per_second: u32,

    /// How many commands a second pass at first when answers return, and before it is known
    /// whether a participant answers; at each poll with answers the number doubles.
    #[arg(
        long,
        env = "BRAKE_RAMP_PER_SECOND",
        value_name = "N",
        default_value_t = 20,
        value_parser = clap::value_parser!(u32).range(1..=100_000)
    )]
    brake_ramp_per_second: u32,

    /// How soon a checkout that waits for a held participant looks again, in milliseconds. The
    /// wait doubles, and is up to a quarter longer.
    #[arg(
        long,
        env = "BRAKE_HOLD_FIRST_MS",
        value_name = "MS",
        default_value_t = 1_000,
        value_parser = clap::value_parser!(u64).range(10..=3_600_000)
    )]
    brake_hold_first_ms: u64,

    /// Longest wait until a checkout looks again, in milliseconds, and so how long after an
    /// outage the last command is sent.
    #[arg(
        long,
        env = "BRAKE_HOLD_MAX_MS",
        value_name = "MS",
        default_value_t = 12_000,
        value_parser = clap::value_parser!(u64).range(10..=3_600_000)
    )]
    brake_hold_max_ms: u64,
}

impl BrakeArgs {
    /// When brakes close and open; `None` where they are switched off.
    pub(crate) fn limits(&self) -> Option<Limits> {
        match self.brake {
            Switch::Off => None,
            Switch::On => Some(Limits {
                poll: Duration::from_millis(self.brake_poll_ms),
                silence: Duration::from_millis(self.brake_silence_ms),
                max_out: self.brake_max_waiting,
                probes_per_second: self.brake_probes_per_second,
                ramp_per_second: self.brake_ramp_per_second,
            }),
        }
    }

    /// The rules, with the waits for held participants.
    pub(crate) fn hold(&self, rules: Rules) -> Result<Rules, FirstWaitExceedsLongest> {
        let (first, max) = (self.brake_hold_first_ms, self.brake_hold_max_ms);
        if first > max {
            return Err(FirstWaitExceedsLongest {
                of: "brake-hold",
                first,
                max,
            });
        }
        Ok(Rules {
            hold_first: Duration::from_millis(first),
            hold_max: Duration::from_millis(max),
            ..rules
        })
    }
}

/// Limits of the streams of status events.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Event streams")]
pub(crate) struct EventStreamArgs {
    /// How often a stream of a checkout's status looks for a change, in milliseconds.
    #[arg(
        long,
        env = "EVENT_STREAM_POLL_MS",
        value_name = "MS",
        default_value_t = 500,
        value_parser = clap::value_parser!(u64).range(10..=60_000)
    )]
    event_stream_poll_ms: u64,

    /// Most streams at once; further ones are answered 503.
    #[arg(
        long,
        env = "EVENT_STREAM_MAX",
        value_name = "N",
        default_value_t = 200,
        value_parser = clap::value_parser!(u32).range(0..=100_000)
    )]
    event_stream_max: u32,

    /// How long a stream lasts at most, in seconds. A browser opens a new one by itself.
    #[arg(
        long,
        env = "EVENT_STREAM_MAX_SECONDS",
        value_name = "SECONDS",
        default_value_t = 600,
        value_parser = clap::value_parser!(u64).range(1..=86_400)
    )]
    event_stream_max_seconds: u64,
}

impl EventStreamArgs {
    /// The limits, for the API.
    pub(crate) fn limits(&self) -> StreamLimits {
        StreamLimits {
            poll: Duration::from_millis(self.event_stream_poll_ms),
            streams: self.event_stream_max as usize,
            lifetime: Duration::from_secs(self.event_stream_max_seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        saga: SagaArgs,
        #[command(flatten)]
        brake: BrakeArgs,
    }

    fn rules(flags: &[&str]) -> Result<Rules, FirstWaitExceedsLongest> {
        let args = Only::parse_from([&["orchestrator"], flags].concat());
        args.saga.rules().and_then(|rules| args.brake.hold(rules))
    }

    #[test]
    fn without_flags_the_rules_are_those_of_the_flow() {
        assert_eq!(rules(&[]), Ok(Rules::default()));
    }

    #[test]
    fn a_first_wait_that_exceeds_the_longest_is_refused() {
        let flags = ["--reply-wait-first-ms", "200", "--reply-wait-max-ms", "100"];
        let error = rules(&flags).unwrap_err().to_string();
        assert!(error.contains("--reply-wait-max-ms 100"), "{error}");
        let rules = rules(&["--reply-wait-first-ms", "200", "--reply-tries", "3"]).unwrap();
        assert_eq!(rules.first_wait, Some(Duration::from_millis(200)));
        assert_eq!(rules.tries, Some(3));
    }

    #[test]
    fn the_waits_of_held_checkouts_are_flags_and_are_checked() {
        let flags = ["--brake-hold-first-ms", "200", "--brake-hold-max-ms", "100"];
        let error = rules(&flags).unwrap_err().to_string();
        assert!(error.contains("--brake-hold-max-ms 100"), "{error}");
        let flags = [
            "--brake-hold-max-ms",
            "5000",
            "--checkout-limit-seconds",
            "9",
        ];
        let rules = rules(&flags).unwrap();
        assert_eq!(rules.hold_max, Duration::from_secs(5));
        assert_eq!(rules.checkout_limit, Duration::from_secs(9));
    }

    #[test]
    fn the_brake_can_be_switched_on_and_off() {
        let limits = |flags: &[&str]| {
            let args = Only::parse_from([&["orchestrator"], flags].concat());
            args.brake.limits()
        };
        let on = limits(&["--brake", "on"]).unwrap();
        assert_eq!(on.silence, Duration::from_secs(5));
        assert_eq!(limits(&["--brake", "off"]), None);
    }
}
