//! Amounts as Stripe counts them.
//!
//! Both sides count minor units, but not of every currency the same: commands go
//! by ISO 4217, and Stripe has exceptions to it.

/// The amount in Stripe's units of the currency; none where Stripe cannot charge
/// that amount exactly.
pub(super) fn stripe_amount(amount: i64, currency: &str) -> Option<i64> {
    match currency {
        // No minor unit, yet counted in hundredths, which have to be 0.
        "ISK" | "UGX" => amount.checked_mul(100),
        // A minor unit in ISO 4217, none at Stripe.
        "MGA" => (amount % 100 == 0).then_some(amount / 100),
        // Thousandths, of which card schemes take tens alone.
        "BHD" | "JOD" | "KWD" | "OMR" | "TND" => (amount % 10 == 0).then_some(amount),
        _ => Some(amount),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_currencies_are_counted_alike() {
        assert_eq!(stripe_amount(1_999, "EUR"), Some(1_999));
        assert_eq!(stripe_amount(500, "JPY"), Some(500));
    }

    #[test]
    fn currencies_counted_otherwise_are_converted_or_refused() {
        assert_eq!(stripe_amount(500, "ISK"), Some(50_000));
        assert_eq!(stripe_amount(i64::MAX, "UGX"), None);
        assert_eq!(stripe_amount(12_300, "MGA"), Some(123));
        assert_eq!(stripe_amount(12_340, "MGA"), None);
        assert_eq!(stripe_amount(5_120, "KWD"), Some(5_120));
        assert_eq!(stripe_amount(5_124, "KWD"), None);
    }
}
