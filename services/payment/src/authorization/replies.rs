//! The replies, made from the row alone: so a reply that is repeated is the same.

use contracts::messages::{AuthorizationVoided, PaymentAuthorized, PaymentDeclined};
use runtime::Outbox;

use super::Authorization;
use crate::handler::Call;

impl Authorization {
    pub(super) fn reply_authorized(&self, out: &mut Outbox<Call>) {
        // All five are there once money is held.
        if let (Some(command_id), Some(authorization_id), Some(amount), Some(currency), Some(at)) = (
            self.authorize_command_id,
            self.authorization_id,
            self.amount,
            self.currency.clone(),
            self.authorized_at,
        ) {
            out.send(PaymentAuthorized {
                command_id,
                checkout_id: self.checkout_id,
                cart_id: self.cart_id,
                authorization_id,
                amount,
                currency,
                authorized_at: at,
            });
        }
    }

    pub(super) fn reply_declined(&self, out: &mut Outbox<Call>) {
        // All three are there once a refusal was decided.
        if let (Some(command_id), Some(reason), Some(declined_at)) = (
            self.authorize_command_id,
            self.decline_reason,
            self.declined_at,
        ) {
            out.send(PaymentDeclined {
                command_id,
                checkout_id: self.checkout_id,
                cart_id: self.cart_id,
                reason,
                declined_at,
            });
        }
    }

    pub(super) fn reply_voided(&self, out: &mut Outbox<Call>) {
        // Both are there once a void was decided.
        if let (Some(command_id), Some(voided_at)) = (self.void_command_id, self.voided_at) {
            out.send(AuthorizationVoided {
                command_id,
                checkout_id: self.checkout_id,
                cart_id: self.cart_id,
                authorization_id: self.authorization_id,
                voided_at,
            });
        }
    }
}
