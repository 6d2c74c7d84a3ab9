//! The console: what operators see of the checkouts, and do to them, in a browser.
//!
//! It holds no logic of its own about sagas: what is looked at and done is
//! [`operations`], as for the command line. It keeps no state but sessions and a few
//! minutes of samples, and has no database.
//!
//! - `options`: flags and environment.
//! - `console`: what all pages share: where everything is, and limits.
//! - `sampling`: what is looked at from time to time, for the overview.
//! - `security`: who may see and do what: hosts, sessions, tokens, forged requests.
//! - `fields`: what a query or a form says.
//! - `layout`: the frame of every page; `problem`: the page when something is wrong.
//! - `pages`: one file a page.

mod console;
mod fields;
mod layout;
mod options;
mod pages;
mod problem;
mod sampling;
mod security;

use std::process::ExitCode;

use clap::Parser;

use crate::console::Console;
use crate::options::Options;

fn main() -> ExitCode {
    let options = Options::parse();
    let (http, logs) = (options.http.clone(), options.logs.clone());
    service::run_pages("console", &http, &logs, async |address| {
        let console = Console::new(options, address)?;
        sampling::start(&console);
        Ok(pages::router(console))
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_flags_do_not_contradict_each_other() {
        Options::command().debug_assert();
    }
}
