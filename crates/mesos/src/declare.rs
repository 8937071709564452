//! The two declarations the schema is written in: messages and enumerations. Each yields the Rust type, its protobuf form (by prost) and
//! its JSON form (by [`crate::json`]) from one line per field.

/// `pub struct Name { number field: [protobuf kind] RustType, … }`. The kind is what prost calls it: `string, required`,
/// `message, optional`, `enumeration(State), required`, `double, optional, default = "15.0"`, `btree_map = "string, message"` …
macro_rules! messages {
    ($(
        $(#[$meta:meta])*
        pub struct $Name:ident { $($(#[$field_meta:meta])* $tag:tt $field:ident: [$($kind:tt)*] $Type:ty),* $(,)? }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, PartialEq, ::prost::Message)]
        #[allow(missing_docs)]
        pub struct $Name {
            $($(#[$field_meta])* #[prost($($kind)*, tag = $tag)] pub $field: $Type),*
        }

        impl $crate::json::Json for $Name {
            fn to_json(&self) -> ::serde_json::Value {
                #[allow(unused_mut)]
                let mut object = ::serde_json::Map::new();
                $(write_field!(object, self, $field, [$($kind)*]);)*
                ::serde_json::Value::Object(object)
            }

            fn read_json(value: &::serde_json::Value) -> Result<Self, $crate::json::JsonError> {
                #[allow(unused_mut)]
                let mut fields = $crate::json::Fields::new(value)?;
                $(let $field = read_field!(fields, $field, [$($kind)*]);)*
                fields.finish()?;
                Ok(Self { $($field),* })
            }
        }
    )*};
}

/// Puts one field of a message into a JSON object.
macro_rules! write_field {
    ($object:ident, $self:ident, $field:ident, [enumeration($E:path), required]) => {
        $crate::json::put_enum::<$E>(&mut $object, stringify!($field), Some($self.$field));
    };
    ($object:ident, $self:ident, $field:ident, [enumeration($E:path), optional]) => {
        $crate::json::put_enum::<$E>(&mut $object, stringify!($field), $self.$field);
    };
    ($object:ident, $self:ident, $field:ident, [enumeration($E:path), optional, default = $default:tt]) => {
        let number = $self.$field.unwrap_or($self.$field() as i32);
        $crate::json::put_enum::<$E>(&mut $object, stringify!($field), Some(number));
    };
    ($object:ident, $self:ident, $field:ident, [enumeration($E:path), repeated $($rest:tt)*]) => {
        $crate::json::put_enums::<$E>(&mut $object, stringify!($field), &$self.$field);
    };
    ($object:ident, $self:ident, $field:ident, [$kind:ident, optional, default = $default:tt]) => {
        $crate::json::put(&mut $object, stringify!($field), &$self.$field());
    };
    ($object:ident, $self:ident, $field:ident, [$($kind:tt)*]) => {
        $crate::json::put(&mut $object, stringify!($field), &$self.$field);
    };
}

/// Takes one field of a message from a JSON object.
macro_rules! read_field {
    ($fields:ident, $field:ident, [enumeration($E:path), required]) => {
        $fields.required_enum::<$E>(stringify!($field))?
    };
    ($fields:ident, $field:ident, [enumeration($E:path), optional $($rest:tt)*]) => {
        $fields.optional_enum::<$E>(stringify!($field))?
    };
    ($fields:ident, $field:ident, [enumeration($E:path), repeated $($rest:tt)*]) => {
        $fields.repeated_enum::<$E>(stringify!($field))?
    };
    ($fields:ident, $field:ident, [message, optional, boxed]) => {
        $fields.optional(stringify!($field))?.map(Box::new)
    };
    ($fields:ident, $field:ident, [btree_map = $types:tt]) => {
        $fields.map(stringify!($field))?
    };
    ($fields:ident, $field:ident, [$kind:ident $(= $variety:tt)?, required]) => {
        $fields.required(stringify!($field))?
    };
    ($fields:ident, $field:ident, [$kind:ident $(= $variety:tt)?, optional $($rest:tt)*]) => {
        $fields.optional(stringify!($field))?
    };
    ($fields:ident, $field:ident, [$kind:ident, repeated $($rest:tt)*]) => {
        $fields.repeated(stringify!($field))?
    };
}

/// `pub enum Name { Variant = number "NAME_IN_JSON", … }`. A field of this type is an `i32` and keeps numbers it does not know; the first
/// variant is what prost's accessor says of those, so code that must tell them apart uses `Name::try_from`.
macro_rules! enumerations {
    ($(
        $(#[$meta:meta])*
        pub enum $Name:ident { $($Variant:ident = $number:tt $text:literal),* $(,)? }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ::prost::Enumeration)]
        #[repr(i32)]
        #[allow(missing_docs)]
        pub enum $Name { $($Variant = $number),* }

        impl $Name {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$Variant),*];

            /// The name in the schema, as JSON spells it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$Variant => $text),* }
            }

            /// The value of that name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.name() == name)
            }
        }

        impl $crate::json::Names for $Name {
            fn name_of(number: i32) -> Option<&'static str> {
                Self::try_from(number).ok().map(Self::name)
            }

            fn number_of(name: &str) -> Option<i32> {
                Self::from_name(name).map(|value| value as i32)
            }
        }
    )*};
}
