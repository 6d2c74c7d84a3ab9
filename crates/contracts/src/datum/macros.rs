//! Declares records and enums, and how they are written and read, in one place.

/// Declares structs whose fields stand in the order of their Avro schema.
///
/// What is written inside is plain Rust, but for what a record is to its checkout:
/// `: command`, `: reply at <field>` or `: event at <field>`, where the field is the
/// time at which it happened. Added are the derives, the field names of the schema
/// (camelCase), [`Datum`](crate::datum::Datum) and
/// [`Addressed`](crate::message::Addressed).
macro_rules! records {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident $(: $kind:ident $(at $at:ident)?)? {
            $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)*
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
        }

        impl crate::datum::Datum for $name {
            fn write(&self, out: &mut Vec<u8>) {
                $(crate::datum::Datum::write(&self.$field, out);)*
            }

            fn read(
                input: &mut crate::datum::Reader<'_>,
            ) -> Result<Self, crate::datum::DatumError> {
                Ok(Self {
                    $($field: crate::datum::Datum::read(input)
                        .map_err(|error| error.within(stringify!($field)))?,)*
                })
            }
        }

        $(
            impl crate::message::Addressed for $name {
                fn envelope(&self) -> crate::message::Envelope<'_> {
                    crate::datum::addressed!(self $kind $($at)?)
                }
            }
        )?
    )*};
}

/// What a record says about itself, by what it is to its checkout.
macro_rules! addressed {
    ($self:ident command) => {
        crate::message::command($self.command_id, $self.checkout_id, $self.cart_id)
    };
    ($self:ident reply $at:ident) => {
        crate::message::reply(
            $self.command_id,
            $self.checkout_id,
            $self.cart_id,
            $self.$at,
        )
    };
    ($self:ident event $at:ident) => {
        crate::message::event($self.event_id, $self.checkout_id, $self.cart_id, $self.$at)
    };
}

/// Declares enums whose variants stand in the order of their Avro symbols.
macro_rules! enums {
    ($(
        $(#[$meta:meta])*
        pub enum $name:ident {
            $($(#[$variant_meta:meta])* $variant:ident => $symbol:literal,)*
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord,
            serde::Serialize, serde::Deserialize,
        )]
        pub enum $name {
            $($(#[$variant_meta])* #[serde(rename = $symbol)] $variant,)*
        }

        impl $name {
            /// Every variant, in the order of the schema.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The symbol in the schema.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $symbol,)*
                }
            }

            /// The variant with this symbol in the schema.
            pub fn from_symbol(symbol: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|variant| variant.as_str() == symbol)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl crate::datum::Datum for $name {
            fn write(&self, out: &mut Vec<u8>) {
                crate::datum::Datum::write(&(*self as i32), out);
            }

            fn read(
                input: &mut crate::datum::Reader<'_>,
            ) -> Result<Self, crate::datum::DatumError> {
                let index: i32 = crate::datum::Datum::read(input)?;
                usize::try_from(index)
                    .ok()
                    .and_then(|index| Self::ALL.get(index).copied())
                    .ok_or_else(|| crate::datum::DatumError::new(format!(
                        "no symbol {index} in {}", stringify!($name)
                    )))
            }
        }
    )*};
}

pub(crate) use {addressed, enums, records};
