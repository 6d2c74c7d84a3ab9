//! The rules, applied. Pure: from the books to what does not add up.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use contracts::ids::{CartId, CheckoutId};

use crate::books::{Account, Books, Bought, Content, Timer};
use crate::positions::Found;
use crate::rule::{Rule, Violation};

/// What is too young to judge.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Milliseconds since 1970.
    pub(crate) now_ms: i64,
    pub(crate) grace: Duration,
}

impl Patience {
    /// Whether something of this time may still be under way.
    pub(crate) fn is_young(self, at_ms: i64) -> bool {
        let grace = i64::try_from(self.grace.as_millis()).unwrap_or(i64::MAX);
        at_ms > self.now_ms.saturating_sub(grace)
    }
}

/// Where a checkout stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has an outcome.
    Ended,
    /// None yet, and too young to judge.
    InFlight,
    /// None, for too long.
    Missing,
    /// An operator answers for it.
    Abandoned,
    /// Its cart is a dead letter.
    Refused,
    /// Its cart is not in the window.
    Unknown,
}

impl Books {
    pub(crate) fn standing(&self, account: &Account, patience: Patience) -> Standing {
        if account.outcomes() > 0 {
            return Standing::Ended;
        }
        if account.is_abandoned() {
            return Standing::Abandoned;
        }
        match account.asked_at_ms {
            _ if account.refused && !account.shared => Standing::Refused,
            Some(at) if !self.window.holds(at) => Standing::Unknown,
            None => Standing::Unknown,
            Some(at) if patience.is_young(at) => Standing::InFlight,
            Some(_) => Standing::Missing,
        }
    }

    /// All that does not add up.
    pub(crate) fn violations(&self, patience: Patience) -> Vec<Violation> {
        let mut findings = Vec::new();
        for (checkout, account) in &self.accounts {
            let mut judge = Judge {
                books: self,
                checkout: *checkout,
                account,
                standing: self.standing(account, patience),
                findings: &mut findings,
            };
            judge.outcomes();
            judge.holds();
            judge.saga();
            judge.timers();
        }
        two_orders(self, &mut findings);
        stock(self, &mut findings);
        positions(self, patience, &mut findings);
        findings.extend(self.letters.defects.iter().cloned());
        let of_shared = self.letters.of_shared.iter();
        findings.extend(
            of_shared
                .filter(|letter| !self.may_be_shared(letter.checkout_id, letter.cart_id))
                .cloned(),
        );
        findings
    }
}

/// Applies the rules about one checkout.
struct Judge<'a> {
    books: &'a Books,
    checkout: CheckoutId,
    account: &'a Account,
    standing: Standing,
    findings: &'a mut Vec<Violation>,
}

impl Judge<'_> {
    fn add(&mut self, rule: Rule, detail: impl Into<String>) {
        self.findings.push(Violation {
            rule,
            detail: detail.into(),
            cart_id: self.account.cart,
            checkout_id: Some(self.checkout),
            subject: String::new(),
        });
    }

    fn outcomes(&mut self) {
        let Account {
            created,
            failed,
            rejected,
            ..
        } = *self.account;
        if self.standing == Standing::Missing {
            let saga = match &self.account.saga {
                Some(saga) => format!("its saga is {}", saga.state),
                None if self.books.read.orchestrator => "there is no saga of it".to_owned(),
                None => "the orchestrator's database was not read".to_owned(),
            };
            self.add(Rule::OUTCOME_MISSING, format!("no outcome yet; {saga}"));
        }
        if created > 1 {
            let detail = format!("{created} records OrderCreated");
            self.add(Rule::ORDER_CREATED_DOUBLED, detail);
        }
        if failed + rejected > 1 {
            let detail = format!("{failed} records CheckoutFailed, {rejected} CheckoutRejected");
            self.add(Rule::OUTCOME_DOUBLED, detail);
        }
        if created > 0 && failed + rejected > 0 {
            let detail = format!(
                "{created} records OrderCreated, {failed} CheckoutFailed, {rejected} \
                 CheckoutRejected"
            );
            self.add(Rule::CREATED_AND_FAILED, detail);
        }
        if self.standing == Standing::Ended
            && self.account.asked_at_ms.is_none()
            && self.books.window.is_complete()
        {
            self.add(Rule::OUTCOME_UNASKED, "its cart was never published");
        }
    }

    fn holds(&mut self) {
        if self.account.is_abandoned() {
            return;
        }
        if let Some(event) = &self.account.event {
            self.is_asked_for(&event.bought);
            self.is_ordered(event);
            self.is_backed(&event.bought);
            return;
        }
        let order = self.account.order.as_ref();
        let recorded = order.filter(|order| &*order.state == "RECORDED");
        let begun_before_the_window = match self.standing {
            Standing::InFlight => return,
            Standing::Unknown => !self.books.window.is_complete(),
            _ => false,
        };
        if begun_before_the_window {
            // Its event may be gone, the order is not. Without one it must be over.
            match recorded.and_then(|order| order.content.as_ref()) {
                Some(content) => self.is_backed(&content.bought),
                None if self.may_run() => {}
                None => self.holds_nothing(),
            }
        } else {
            if recorded.is_some() {
                let detail = "its order is RECORDED, and no OrderCreated was published";
                self.add(Rule::HELD_WITHOUT_ORDER, detail);
            }
            self.holds_nothing();
        }
    }

    /// Whether a checkout that began before the window may not have ended yet.
    fn may_run(&self) -> bool {
        let saga = self.account.saga.as_ref();
        !self.books.read.orchestrator || saga.is_some_and(|saga| !saga.has_ended())
    }

    fn is_asked_for(&mut self, ordered: &Bought) {
        // Of carts that share an event id it is not known which one this is.
        let asked = self.account.asked.as_ref().filter(|_| !self.account.shared);
        if let Some(asked) = asked.filter(|asked| *asked != ordered) {
            let detail = format!("asked for was {asked:?}, ordered {ordered:?}");
            self.add(Rule::ORDERED_OTHERWISE, detail);
        }
    }

    fn is_ordered(&mut self, event: &Content) {
        if !self.books.read.order {
            return;
        }
        match &self.account.order {
            Some(order) if &*order.state == "RECORDED" => {
                if order.content.as_ref() != Some(event) {
                    let detail = format!(
                        "its OrderCreated and its order differ: {event:?}, {:?}",
                        order.content
                    );
                    self.add(Rule::ORDER_MISSING, detail);
                }
            }
            Some(order) => {
                let detail = format!("its order is {}", order.state);
                self.add(Rule::ORDER_MISSING, detail);
            }
            None => self.add(Rule::ORDER_MISSING, "there is no order"),
        }
    }

    fn is_backed(&mut self, order: &Bought) {
        if self.books.read.payment {
            match &self.account.authorization {
                Some(held) if &*held.state == "AUTHORIZED" => {
                    if held.amount != Some(order.total)
                        || held.currency.as_ref() != Some(&order.currency)
                    {
                        let detail = format!(
                            "authorized are {:?} {:?}, ordered {} {}",
                            held.amount, held.currency, order.total, order.currency
                        );
                        self.add(Rule::PAYMENT_MISSING, detail);
                    }
                }
                Some(held) => {
                    let detail = format!("its authorization is {}", held.state);
                    self.add(Rule::PAYMENT_MISSING, detail);
                }
                None => self.add(Rule::PAYMENT_MISSING, "there is no authorization"),
            }
        }
        if self.books.read.inventory {
            match &self.account.reservation {
                Some(held) if &*held.state == "RESERVED" => {
                    if held.pieces != order.pieces {
                        self.add(Rule::STOCK_MISSING, "other products or pieces are reserved");
                    }
                }
                Some(held) => {
                    let detail = format!("its reservation is {}", held.state);
                    self.add(Rule::STOCK_MISSING, detail);
                }
                None => self.add(Rule::STOCK_MISSING, "there is no reservation"),
            }
        }
        let account = self.account;
        for service in &self.books.others {
            let detail = match account.others.iter().find(|row| row.service == *service) {
                Some(row) if row.is_held => continue,
                Some(row) => format!("{service} has it as {}", row.state),
                None => format!("{service} has no row of it"),
            };
            self.add(Rule::HOLDING_MISSING, detail);
        }
    }

    fn holds_nothing(&mut self) {
        if let Some(held) = &self.account.authorization
            && matches!(&*held.state, "REQUESTED" | "AUTHORIZED" | "VOIDING")
        {
            let detail = format!("its authorization is {}", held.state);
            self.add(Rule::HELD_WITHOUT_ORDER, detail);
        }
        if let Some(held) = &self.account.reservation
            && &*held.state == "RESERVED"
        {
            self.add(Rule::HELD_WITHOUT_ORDER, "its reservation is RESERVED");
        }
        let account = self.account;
        for row in account.others.iter().filter(|row| row.is_held) {
            let detail = format!("{} has it as {}", row.service, row.state);
            self.add(Rule::HELD_WITHOUT_ORDER, detail);
        }
    }

    fn saga(&mut self) {
        // A saga that is gone was purged: its outcome is what remains.
        let Some(saga) = &self.account.saga else {
            return;
        };
        let expected = match (self.account.created, self.account.failed) {
            _ if self.account.is_abandoned() => return,
            (1.., _) => "COMPLETED",
            (0, 1..) => "FAILED",
            (0, 0) if self.standing == Standing::Unknown && self.books.window.is_complete() => {
                let detail = format!(
                    "its saga is {}, and its cart was never published",
                    saga.state
                );
                self.add(Rule::SAGA_AT_REST, detail);
                return;
            }
            // Without an outcome, which is another rule's matter.
            (0, 0) => return,
        };
        if &*saga.state != expected {
            let detail = format!("its saga is {}, expected {expected}", saga.state);
            self.add(Rule::SAGA_AT_REST, detail);
        }
    }

    fn timers(&mut self) {
        let account = self.account;
        let saga = account.saga.as_ref();
        let held = account.authorization.as_ref();
        let reserved = account.reservation.as_ref();
        let timers = [
            saga.map(|row| ("saga", &row.state, row.timer, row.has_ended())),
            held.map(|row| {
                let calling = matches!(&*row.state, "REQUESTED" | "VOIDING");
                ("authorization", &row.state, row.timer, !calling)
            }),
            reserved.map(|row| {
                let expires = &*row.state == "RESERVED";
                ("reservation", &row.state, row.timer, !expires)
            }),
        ];
        for (what, state, timer, ended) in timers.into_iter().flatten() {
            let wrong = match (timer, ended) {
                (Timer::Set | Timer::Overdue, true) => "has ended and still has a timer",
                (Timer::Overdue, false) => "has a timer that is overdue",
                (Timer::None | Timer::Set, _) => continue,
            };
            self.add(Rule::TIMER, format!("its {what} ({state}) {wrong}"));
        }
    }
}

fn two_orders(books: &Books, findings: &mut Vec<Violation>) {
    let mut seen = HashMap::<CartId, CheckoutId>::new();
    let mut doubled = BTreeSet::new();
    for (checkout, account) in &books.accounts {
        let order = account.order.as_ref();
        let recorded = order.is_some_and(|order| &*order.state == "RECORDED");
        if let Some(cart) = account.cart
            && (account.created > 0 || recorded)
            && let Some(other) = seen.insert(cart, *checkout)
        {
            doubled.insert((cart, *checkout.min(&other), *checkout.max(&other)));
        }
    }
    for (cart, first, second) in doubled {
        findings.push(Violation {
            rule: Rule::TWO_ORDERS,
            detail: format!("checkouts {first} and {second} are both ordered"),
            cart_id: Some(cart),
            checkout_id: None,
            subject: String::new(),
        });
    }
}

fn stock(books: &Books, findings: &mut Vec<Violation>) {
    for (product, stock) in &books.stock {
        if stock.reserved != stock.in_live_reservations {
            findings.push(Violation {
                rule: Rule::STOCK_BALANCE,
                detail: format!(
                    "product {product}: {} reserved, {} in live reservations",
                    stock.reserved, stock.in_live_reservations
                ),
                cart_id: None,
                checkout_id: None,
                subject: product.clone(),
            });
        }
    }
}

fn positions(books: &Books, patience: Patience, findings: &mut Vec<Violation>) {
    for position in &books.positions {
        let place = format!("{}, partition {}", position.topic, position.partition);
        let mut add = |rule, detail| {
            findings.push(Violation {
                rule,
                detail,
                cart_id: None,
                checkout_id: None,
                subject: place.clone(),
            });
        };
        let service = position.service;
        match position.found {
            Some(Found::Unread {
                offset,
                at_ms,
                at_most,
            }) if !patience.is_young(at_ms) => add(
                Rule::LAG,
                format!(
                    "{service} has not handled {place} from offset {offset} on, up to {at_most} \
                     records"
                ),
            ),
            Some(Found::Outside { low, high }) => add(
                Rule::LAG,
                format!(
                    "{service} goes on at offset {} of {place}, which is not in its log: it \
                     holds {low} to {high}",
                    position.next_offset.unwrap_or_default()
                ),
            ),
            Some(Found::Unread { .. }) | None => {}
        }
        if position.outputs_wait {
            add(
                Rule::OUTPUTS,
                format!("{service} holds messages of {place} that are not known to be published"),
            );
        }
    }
}
