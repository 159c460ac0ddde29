//! Reading a recording key by key: what is missing or wrong is named.

use liminal_cli::frame_json::hex;
use serde_json::Value;

pub(crate) fn bytes(value: &Value, key: &str) -> Result<Vec<u8>, String> {
    hex::decode(text(value, key)?).ok_or_else(|| wrong(value, key))
}

pub(crate) fn list<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>, String> {
    value.get(key).and_then(Value::as_array).ok_or_else(|| wrong(value, key))
}

pub(crate) fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str, String> {
    value.get(key).and_then(Value::as_str).ok_or_else(|| wrong(value, key))
}

pub(crate) fn texts(value: &Value, key: &str) -> Result<Vec<String>, String> {
    let texts = list(value, key)?.iter().map(|text| text.as_str().map(str::to_owned));
    texts.collect::<Option<_>>().ok_or_else(|| wrong(value, key))
}

pub(crate) fn number<T: TryFrom<u64>>(value: &Value, key: &str) -> Result<T, String> {
    let number = value.get(key).and_then(Value::as_u64);
    number.and_then(|number| number.try_into().ok()).ok_or_else(|| wrong(value, key))
}

fn wrong(value: &Value, key: &str) -> String {
    format!("{key} is missing or wrong in {value}")
}
