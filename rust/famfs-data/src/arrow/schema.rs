//! A file's schema, judged: arrow's own conversion panics on what it doesn't know.

use crate::error::DataError;
use arrow_ipc as ipc;
use arrow_schema::{DataType, Field, IntervalUnit, Schema, TimeUnit, UnionFields, UnionMode};
use std::collections::HashMap;
use std::sync::Arc;

const PART: &str = "arrow schema";

/// How many field nodes, buffers and counts of data buffers something takes in a batch's message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Slots {
    pub(super) nodes: usize,
    pub(super) buffers: usize,
    /// View columns: each has as many more buffers as the message says.
    pub(super) views: usize,
}

impl Slots {
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            nodes: self.nodes + other.nodes,
            buffers: self.buffers + other.buffers,
            views: self.views + other.views,
        }
    }
}

/// What a message says of a field beyond its arrow type.
#[derive(Clone, Debug, Default)]
pub(super) struct Shape {
    /// The id of the field's dictionary. The children are then those of the dictionary's values.
    pub(super) dictionary: Option<i64>,
    pub(super) children: Vec<Shape>,
    pub(super) slots: Slots,
}

impl Shape {
    /// Whether a dictionary is in it, at any depth.
    pub(super) fn has_dictionary(&self) -> bool {
        self.dictionary.is_some() || self.children.iter().any(Self::has_dictionary)
    }
}

/// A schema, and the shapes of its fields.
#[derive(Debug)]
pub(super) struct FileSchema {
    pub(super) schema: Schema,
    pub(super) shapes: Vec<Shape>,
    /// The value type of each dictionary.
    pub(super) dictionaries: HashMap<i64, (DataType, Shape)>,
}

/// Judges a schema.
pub(super) fn decode(
    schema: ipc::Schema<'_>,
    version: ipc::MetadataVersion,
) -> Result<FileSchema, DataError> {
    if schema.endianness() != ipc::Endianness::Little {
        return Err(DataError::unsupported(
            "a table in big-endian order",
            "write it anew",
        ));
    }
    let mut decoder = Decoder {
        version,
        dictionaries: HashMap::new(),
    };
    let mut fields = Vec::new();
    let mut shapes = Vec::new();
    for field in schema.fields().iter().flatten() {
        let (field, shape) = decoder.field(field)?;
        fields.push(field);
        shapes.push(shape);
    }
    let schema = Schema::new_with_metadata(fields, pairs(schema.custom_metadata()));
    Ok(FileSchema {
        schema,
        shapes,
        dictionaries: decoder.dictionaries,
    })
}

type Pairs<'a> = flatbuffers::Vector<'a, flatbuffers::ForwardsUOffset<ipc::KeyValue<'a>>>;

/// Key-value metadata; what lacks a key or a value is left out.
pub(super) fn pairs(list: Option<Pairs<'_>>) -> HashMap<String, String> {
    list.iter()
        .flatten()
        .filter_map(|pair| Some((pair.key()?.to_owned(), pair.value()?.to_owned())))
        .collect()
}

struct Decoder {
    version: ipc::MetadataVersion,
    dictionaries: HashMap<i64, (DataType, Shape)>,
}

impl Decoder {
    fn field(&mut self, field: ipc::Field<'_>) -> Result<(Field, Shape), DataError> {
        let name = field.name().unwrap_or_default();
        let (data_type, shape) = self.value_type(field)?;
        let (data_type, shape, ordered) = match field.dictionary() {
            None => (data_type, shape, false),
            Some(encoding) => {
                let id = encoding.id();
                let index = encoding.indexType().map_or(Ok(DataType::Int32), int)?;
                let known = self
                    .dictionaries
                    .entry(id)
                    .or_insert((data_type.clone(), shape));
                if known.0 != data_type {
                    return Err(corrupt(format!(
                        "dictionary {id} holds {} and {data_type}, expected one type",
                        known.0
                    )));
                }
                let shape = Shape {
                    dictionary: Some(id),
                    children: Vec::new(),
                    slots: Slots {
                        nodes: 1,
                        buffers: 2,
                        views: 0,
                    },
                };
                let data_type = DataType::Dictionary(Box::new(index), Box::new(data_type));
                (data_type, shape, encoding.isOrdered())
            }
        };
        let field = Field::new(name, data_type, field.nullable())
            .with_dict_is_ordered(ordered)
            .with_metadata(pairs(field.custom_metadata()));
        Ok((field, shape))
    }

    fn children(
        &mut self,
        field: ipc::Field<'_>,
        expected: Option<usize>,
    ) -> Result<Vec<(Field, Shape)>, DataError> {
        let found = field.children().map_or(0, |children| children.len());
        if expected.is_some_and(|expected| expected != found) {
            let kind = field.type_type().variant_name().unwrap_or("unknown");
            let expected = expected.unwrap_or_default();
            return Err(corrupt(format!(
                "{kind} has {found} children, expected {expected}"
            )));
        }
        field
            .children()
            .iter()
            .flatten()
            .map(|child| self.field(child))
            .collect()
    }

    /// The type of the values, and their shape; for a dictionary, that of its values.
    fn value_type(&mut self, field: ipc::Field<'_>) -> Result<(DataType, Shape), DataError> {
        let missing = || corrupt("a field's type is missing");
        let one = |list: Vec<(Field, Shape)>| list.into_iter().next().ok_or_else(missing);
        let data_type = match field.type_type() {
            ipc::Type::List
            | ipc::Type::LargeList
            | ipc::Type::ListView
            | ipc::Type::LargeListView => {
                let child = one(self.children(field, Some(1))?)?;
                return Ok(match field.type_type() {
                    ipc::Type::List => list(2, child, DataType::List),
                    ipc::Type::LargeList => list(2, child, DataType::LargeList),
                    ipc::Type::ListView => list(3, child, DataType::ListView),
                    _ => list(3, child, DataType::LargeListView),
                });
            }
            ipc::Type::FixedSizeList => {
                let size = field
                    .type_as_fixed_size_list()
                    .ok_or_else(missing)?
                    .listSize();
                not_negative("a fixed-size list's size", size)?;
                let child = one(self.children(field, Some(1))?)?;
                return Ok(list(1, child, |child| DataType::FixedSizeList(child, size)));
            }
            ipc::Type::Map => {
                let sorted = field.type_as_map().ok_or_else(missing)?.keysSorted();
                let child = one(self.children(field, Some(1))?)?;
                if !matches!(child.0.data_type(), DataType::Struct(fields) if fields.len() == 2) {
                    let found = child.0.data_type();
                    return Err(corrupt(format!(
                        "a map of {found}, expected a struct of two"
                    )));
                }
                return Ok(list(2, child, |child| DataType::Map(child, sorted)));
            }
            ipc::Type::Struct_ => {
                let (fields, shapes) = self.children(field, None)?.into_iter().unzip();
                let fields: Vec<Field> = fields;
                return Ok((DataType::Struct(fields.into()), shape(1, shapes)));
            }
            ipc::Type::RunEndEncoded => return self.runs(field),
            ipc::Type::Union => return self.union(field),
            _ => flat(field)?,
        };
        let slots = match data_type {
            DataType::Null => Slots {
                nodes: 1,
                buffers: 0,
                views: 0,
            },
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary => {
                Slots {
                    nodes: 1,
                    buffers: 3,
                    views: 0,
                }
            }
            DataType::Utf8View | DataType::BinaryView => Slots {
                nodes: 1,
                buffers: 2,
                views: 1,
            },
            _ => Slots {
                nodes: 1,
                buffers: 2,
                views: 0,
            },
        };
        Ok((
            data_type,
            Shape {
                dictionary: None,
                children: Vec::new(),
                slots,
            },
        ))
    }

    fn runs(&mut self, field: ipc::Field<'_>) -> Result<(DataType, Shape), DataError> {
        let (fields, shapes): (Vec<Field>, Vec<Shape>) =
            self.children(field, Some(2))?.into_iter().unzip();
        let mut fields = fields.into_iter().map(Arc::new);
        let (Some(ends), Some(values)) = (fields.next(), fields.next()) else {
            return Err(corrupt("runs without ends and values"));
        };
        if !ends.data_type().is_run_ends_type() {
            let found = ends.data_type();
            return Err(corrupt(format!(
                "run ends are {found}, expected int16 to int64"
            )));
        }
        Ok((DataType::RunEndEncoded(ends, values), shape(0, shapes)))
    }

    fn union(&mut self, field: ipc::Field<'_>) -> Result<(DataType, Shape), DataError> {
        let union = field
            .type_as_union()
            .ok_or_else(|| corrupt("a field's type is missing"))?;
        let (mode, mut buffers) = match union.mode() {
            ipc::UnionMode::Sparse => (UnionMode::Sparse, 1),
            ipc::UnionMode::Dense => (UnionMode::Dense, 2),
            other => return Err(unknown("union mode", other.0)),
        };
        if self.version < ipc::MetadataVersion::V5 {
            buffers += 1;
        }
        let (fields, shapes): (Vec<Field>, Vec<Shape>) =
            self.children(field, None)?.into_iter().unzip();
        if fields.is_empty() {
            return Err(DataError::unsupported("a union without fields", ""));
        }
        let ids: Vec<i32> = match union.typeIds() {
            Some(ids) => ids.iter().collect(),
            None => (0..).take(fields.len()).collect(),
        };
        if ids.len() != fields.len() {
            let (ids, fields) = (ids.len(), fields.len());
            return Err(corrupt(format!(
                "a union has {ids} type ids for {fields} fields"
            )));
        }
        let mut seen = [false; 128];
        let mut checked = Vec::with_capacity(ids.len());
        for id in ids {
            let place = usize::try_from(id).ok().and_then(|id| seen.get_mut(id));
            match (place, i8::try_from(id)) {
                (Some(seen), Ok(id)) if !*seen => {
                    *seen = true;
                    checked.push(id);
                }
                _ => {
                    return Err(corrupt(format!(
                        "union type id {id} is out of range or twice"
                    )));
                }
            }
        }
        let fields = UnionFields::try_new(checked, fields).map_err(DataError::Arrow)?;
        Ok((DataType::Union(fields, mode), shape(buffers, shapes)))
    }
}

/// The types without children.
fn flat(field: ipc::Field<'_>) -> Result<DataType, DataError> {
    let missing = || corrupt("a field's type is missing");
    Ok(match field.type_type() {
        ipc::Type::Null => DataType::Null,
        ipc::Type::Bool => DataType::Boolean,
        ipc::Type::Int => int(field.type_as_int().ok_or_else(missing)?)?,
        ipc::Type::Binary => DataType::Binary,
        ipc::Type::LargeBinary => DataType::LargeBinary,
        ipc::Type::BinaryView => DataType::BinaryView,
        ipc::Type::Utf8 => DataType::Utf8,
        ipc::Type::LargeUtf8 => DataType::LargeUtf8,
        ipc::Type::Utf8View => DataType::Utf8View,
        ipc::Type::FixedSizeBinary => {
            let width = field
                .type_as_fixed_size_binary()
                .ok_or_else(missing)?
                .byteWidth();
            not_negative("a fixed-size binary's width", width)?;
            DataType::FixedSizeBinary(width)
        }
        ipc::Type::FloatingPoint => {
            match field
                .type_as_floating_point()
                .ok_or_else(missing)?
                .precision()
            {
                ipc::Precision::HALF => DataType::Float16,
                ipc::Precision::SINGLE => DataType::Float32,
                ipc::Precision::DOUBLE => DataType::Float64,
                other => return Err(unknown("float precision", other.0)),
            }
        }
        ipc::Type::Date => match field.type_as_date().ok_or_else(missing)?.unit() {
            ipc::DateUnit::DAY => DataType::Date32,
            ipc::DateUnit::MILLISECOND => DataType::Date64,
            other => return Err(unknown("date unit", other.0)),
        },
        ipc::Type::Time => {
            let time = field.type_as_time().ok_or_else(missing)?;
            match (time.bitWidth(), unit(time.unit())?) {
                (32, unit @ (TimeUnit::Second | TimeUnit::Millisecond)) => DataType::Time32(unit),
                (64, unit @ (TimeUnit::Microsecond | TimeUnit::Nanosecond)) => {
                    DataType::Time64(unit)
                }
                (bits, unit) => return Err(corrupt(format!("a time of {bits} bits in {unit:?}"))),
            }
        }
        ipc::Type::Timestamp => {
            let stamp = field.type_as_timestamp().ok_or_else(missing)?;
            DataType::Timestamp(unit(stamp.unit())?, stamp.timezone().map(Into::into))
        }
        ipc::Type::Duration => {
            DataType::Duration(unit(field.type_as_duration().ok_or_else(missing)?.unit())?)
        }
        ipc::Type::Interval => match field.type_as_interval().ok_or_else(missing)?.unit() {
            ipc::IntervalUnit::YEAR_MONTH => DataType::Interval(IntervalUnit::YearMonth),
            ipc::IntervalUnit::DAY_TIME => DataType::Interval(IntervalUnit::DayTime),
            ipc::IntervalUnit::MONTH_DAY_NANO => DataType::Interval(IntervalUnit::MonthDayNano),
            other => return Err(unknown("interval unit", other.0)),
        },
        ipc::Type::Decimal => decimal(field.type_as_decimal().ok_or_else(missing)?)?,
        other => {
            let what = other
                .variant_name()
                .map_or_else(|| other.0.to_string(), str::to_owned);
            return Err(DataError::unsupported(format!("arrow type {what}"), ""));
        }
    })
}

fn int(int: ipc::Int<'_>) -> Result<DataType, DataError> {
    Ok(match (int.bitWidth(), int.is_signed()) {
        (8, true) => DataType::Int8,
        (8, false) => DataType::UInt8,
        (16, true) => DataType::Int16,
        (16, false) => DataType::UInt16,
        (32, true) => DataType::Int32,
        (32, false) => DataType::UInt32,
        (64, true) => DataType::Int64,
        (64, false) => DataType::UInt64,
        (bits, _) => return Err(corrupt(format!("an integer of {bits} bits"))),
    })
}

fn unit(unit: ipc::TimeUnit) -> Result<TimeUnit, DataError> {
    Ok(match unit {
        ipc::TimeUnit::SECOND => TimeUnit::Second,
        ipc::TimeUnit::MILLISECOND => TimeUnit::Millisecond,
        ipc::TimeUnit::MICROSECOND => TimeUnit::Microsecond,
        ipc::TimeUnit::NANOSECOND => TimeUnit::Nanosecond,
        other => return Err(unknown("time unit", other.0)),
    })
}

fn decimal(decimal: ipc::Decimal<'_>) -> Result<DataType, DataError> {
    let (bits, precision, scale) = (decimal.bitWidth(), decimal.precision(), decimal.scale());
    let digits = match bits {
        32 => 9,
        64 => 18,
        128 => 38,
        256 => 76,
        _ => return Err(corrupt(format!("a decimal of {bits} bits"))),
    };
    let bad = || {
        corrupt(format!(
            "a {bits}-bit decimal of precision {precision}, scale {scale}"
        ))
    };
    if !(1..=digits).contains(&precision) || scale > precision {
        return Err(bad());
    }
    let precision = u8::try_from(precision).map_err(|_| bad())?;
    let scale = i8::try_from(scale).map_err(|_| bad())?;
    Ok(match bits {
        32 => DataType::Decimal32(precision, scale),
        64 => DataType::Decimal64(precision, scale),
        128 => DataType::Decimal128(precision, scale),
        _ => DataType::Decimal256(precision, scale),
    })
}

fn list(
    buffers: usize,
    (field, child): (Field, Shape),
    make: impl FnOnce(Arc<Field>) -> DataType,
) -> (DataType, Shape) {
    (make(Arc::new(field)), shape(buffers, vec![child]))
}

fn shape(buffers: usize, children: Vec<Shape>) -> Shape {
    let own = Slots {
        nodes: 1,
        buffers,
        views: 0,
    };
    let slots = children
        .iter()
        .fold(own, |sum, child| sum.plus(child.slots));
    Shape {
        dictionary: None,
        children,
        slots,
    }
}

fn not_negative(what: &str, value: i32) -> Result<(), DataError> {
    if value < 0 {
        Err(corrupt(format!("{what} is {value}, expected 0 or more")))
    } else {
        Ok(())
    }
}

fn unknown(what: &str, value: impl Into<i64>) -> DataError {
    corrupt(format!("unknown {what} {}", value.into()))
}

fn corrupt(detail: impl Into<String>) -> DataError {
    DataError::corrupt(PART, detail)
}
