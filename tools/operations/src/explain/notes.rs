//! What could not be found out, and whether it is because somebody was away.

/// Notes, in the order in which they came.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) all: Vec<String>,
    /// Whether somebody who was asked did not answer.
    pub(super) anybody_away: bool,
}

impl Notes {
    /// Everybody answered, and still something is missing.
    pub(super) fn tell(&mut self, note: String) {
        self.all.push(note);
    }

    /// Somebody did not answer, which is told once, however often they were asked.
    pub(super) fn away(&mut self, note: String) {
        self.anybody_away = true;
        if !self.all.contains(&note) {
            self.all.push(note);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_away_is_told_once_and_what_is_gone_is_nobodys_silence() {
        let mut notes = Notes::default();
        notes.tell("a record is not there any more".to_owned());
        assert!(!notes.anybody_away);
        for _ in 0..2 {
            notes.away("the payment database did not answer".to_owned());
        }
        assert!(notes.anybody_away);
        assert_eq!(notes.all.len(), 2, "{:?}", notes.all);
    }
}
