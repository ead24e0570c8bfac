//! The safetensors parser: exact results, refusals, and the `safetensors` crate as the oracle. Our parser is stricter,
//! so the crate must accept every file that it accepts, with the same content.

use proptest::prelude::*;
use tabtune::error::Error;
use tabtune::files::safetensors::{Dtype, Header, MOST_TENSORS, to_f32, write};

const FILE: &str = "model.safetensors";

/// A file with this header and `data` bytes of data.
fn file(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(vec![0; data]);
    bytes
}

fn parse(bytes: &[u8]) -> Result<Header, Error> {
    let Some(first8) = bytes.first_chunk::<8>() else {
        return Err(Error::Safetensors { file: FILE.to_owned(), reason: "shorter than eight bytes".to_owned() });
    };
    let length = Header::length(first8, bytes.len() as u64, FILE)?;
    Header::parse(&bytes[8..8 + length as usize], bytes.len() as u64, FILE)
}

/// The reason why a file is refused.
fn refused(bytes: &[u8]) -> String {
    match parse(bytes) {
        Err(Error::Safetensors { file, reason }) if file == FILE => reason,
        other => panic!("expected a refusal, found {other:?}"),
    }
}

/// The crate must read the same from every file that our parser accepts.
fn check_with_oracle(bytes: &[u8]) {
    let Ok(header) = parse(bytes) else { return };
    let oracle = safetensors::SafeTensors::deserialize(bytes).expect("the crate accepts what we accept");
    assert_eq!(header.entries.len() + header.others.len(), oracle.len());
    for other in &header.others {
        let view = oracle.tensor(&other.name).expect("the crate has this tensor");
        assert_eq!(view.data(), &bytes[other.begin as usize..other.end as usize], "{}", other.name);
        assert_eq!(format!("{:?}", view.dtype()), other.dtype, "{}", other.name);
    }
    for entry in &header.entries {
        let view = oracle.tensor(&entry.name).expect("the crate has this tensor");
        assert_eq!(view.shape(), entry.shape, "{}", entry.name);
        assert_eq!(view.data(), &bytes[entry.begin as usize..entry.end as usize], "{}", entry.name);
        assert_eq!(format!("{:?}", view.dtype()), format!("{:?}", entry.dtype), "{}", entry.name);
    }
}

#[test]
fn a_header_gives_sorted_entries_with_absolute_offsets() {
    let header = concat!(
        r#"{"b":{"dtype":"F16","shape":[2,3],"data_offsets":[0,12]},"__metadata__":{"format":"pt"},"#,
        r#""a":{"dtype":"F32","shape":[],"data_offsets":[12,16]}}"#
    );
    let bytes = file(header, 16);
    let parsed = parse(&bytes).unwrap();
    let begin = 8 + header.len() as u64;
    let names: Vec<_> =
        parsed.entries.iter().map(|e| (e.name.as_str(), e.dtype, e.begin - begin, e.end - begin)).collect();
    assert_eq!(names, [("a", Dtype::F32, 12, 16), ("b", Dtype::F16, 0, 12)]);
    assert_eq!(parsed.metadata, [("format".to_owned(), "pt".to_owned())]);
    assert_eq!(parsed.get("b").unwrap().shape, [2, 3]);
    assert_eq!(parsed.get("c"), None);
    check_with_oracle(&bytes);
}

#[test]
fn header_lengths_are_refused_beyond_the_file_and_beyond_the_limit() {
    for length in [1 << 63, u64::MAX, u64::MAX - 7, (16 << 20) + 1] {
        let mut bytes = file("{}", 0);
        bytes[..8].copy_from_slice(&u64::to_le_bytes(length));
        assert!(refused(&bytes).contains("its header claims"), "{length}");
    }
    assert_eq!(Header::length(&(16u64 << 20).to_le_bytes(), (16 << 20) + 8, FILE), Ok(16 << 20));
    assert!(Header::length(&(16u64 << 20).to_le_bytes(), (16 << 20) + 7, FILE).is_err());
    assert!(Header::length(&3u64.to_le_bytes(), 10, FILE).is_err());
}

#[test]
fn offsets_beyond_four_gibibytes_are_correct() {
    let header = concat!(
        r#"{"a":{"dtype":"F32","shape":[2147483648],"data_offsets":[0,8589934592]},"#,
        r#""b":{"dtype":"BF16","shape":[1],"data_offsets":[8589934592,8589934594]}}"#
    );
    let begin = 8 + header.len() as u64;
    let parsed = Header::parse(header.as_bytes(), begin + 8_589_934_594, FILE).unwrap();
    assert_eq!(parsed.get("b").unwrap().begin, begin + 8_589_934_592);
}

#[test]
fn each_fault_is_named() {
    let tensor = |name: &str, shape: &str, begin: u64, end: u64| {
        format!(r#""{name}":{{"dtype":"F32","shape":{shape},"data_offsets":[{begin},{end}]}}"#)
    };
    let many: Vec<String> = (0..=MOST_TENSORS).map(|i| tensor(&i.to_string(), "[0]", 0, 0)).collect();
    let cases = [
        (
            format!("{{{},{}}}", tensor("a", "[2]", 0, 8), tensor("b", "[2]", 4, 12)),
            12,
            "tensor `b` overlaps another tensor",
        ),
        (format!("{{{},{}}}", tensor("a", "[2]", 0, 8), tensor("b", "[2]", 0, 8)), 8, "overlaps another tensor"),
        (
            format!("{{{},{}}}", tensor("a", "[2]", 0, 8), tensor("b", "[2]", 12, 20)),
            20,
            "tensor `b` leaves a gap before it",
        ),
        (format!("{{{}}}", tensor("a", "[2]", 4, 12)), 12, "tensor `a` leaves a gap before it"),
        (format!("{{{},{}}}", tensor("a", "[1]", 0, 4), tensor("a", "[1]", 4, 8)), 8, "tensor `a` is named twice"),
        (format!("{{{}}}", tensor("a", "[2]", 0, 8)), 9, "its tensors end at byte"),
        (format!("{{{}}}", tensor("a", "[2]", 0, 8)), 7, "its tensors end at byte"),
        (format!("{{{}}}", tensor("a", "[3]", 0, 8)), 8, "does not fill the bytes 0..8"),
        (format!("{{{}}}", tensor("a", "[2]", 8, 0)), 8, "does not fill the bytes 8..0"),
        (format!("{{{}}}", tensor("a", "[4294967296,4294967296,4]", 0, 0)), 0, "does not fill the bytes"),
        (format!("{{{}}}", tensor("a", "[1]", u64::MAX - 4, u64::MAX)), 4, "larger than this machine can address"),
        (r#"{"a":{"dtype":"I65","shape":[1],"data_offsets":[0,8]}}"#.to_owned(), 8, "tensor `a` has the type I65"),
        (r#"{"a":{"dtype":"I64","shape":[2],"data_offsets":[0,8]}}"#.to_owned(), 8, "does not fill the bytes 0..8"),
        (
            format!("{{{},{}}}", tensor("a", "[2]", 0, 8), tensor("b", "[9]", 4, 13).replace("F32", "BOOL")),
            13,
            "tensor `b` overlaps another tensor",
        ),
        (r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}}"#
            .to_owned(), 5, "tensor `a` is named twice"),
        (r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#.to_owned(), 4, "invalid value"),
        (r#"{"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}"#.to_owned(), 4, "invalid type"),
        (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}}"#.to_owned(), 4, "unknown field `x`"),
        (
            r#"{"a":{"dtype":"F32","dtype":"F16","shape":[1],"data_offsets":[0,4]}}"#.to_owned(),
            4,
            "duplicate field `dtype`",
        ),
        (r#"{"__metadata__":{"a":"1","a":"2"}}"#.to_owned(), 0, "the metadata names `a` twice"),
        (r#"{"__metadata__":{},"__metadata__":{}}"#.to_owned(), 0, "duplicate field `__metadata__`"),
        (r#"{"__metadata__":{"a":1}}"#.to_owned(), 0, "invalid type"),
        (format!("{{{}}}", many.join(",")), 0, "more than 20000 tensors"),
        ("[".repeat(100_000), 0, "invalid type"),
        (String::new(), 0, "EOF"),
    ];
    for (header, data, expected) in cases {
        let reason = refused(&file(&header, data));
        assert!(reason.contains(expected), "expected `{expected}`, found `{reason}`");
    }
    let most = format!("{{{}}}", many[1..].join(","));
    assert_eq!(parse(&file(&most, 0)).unwrap().entries.len(), MOST_TENSORS);
}

#[test]
fn names_with_a_meaning_in_javascript_are_ordinary_names() {
    let numbers = [1.0];
    let tensors: Vec<_> =
        ["__proto__", "constructor", "\"\\\u{1}é"].iter().map(|n| (n.to_string(), vec![1], &numbers[..])).collect();
    let bytes = write(&tensors, &[]);
    assert!(tensors.iter().all(|(name, _, _)| parse(&bytes).unwrap().get(name).is_some()));
    check_with_oracle(&bytes);
}

#[test]
fn half_precision_numbers_become_the_same_numbers() {
    let values = [0.0, -0.0, 1.0, -2.5, 65504.0, 6.1e-5, f32::INFINITY];
    for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16] {
        let bytes: Vec<u8> = match dtype {
            Dtype::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Dtype::F16 => values.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect(),
            Dtype::BF16 => values.iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()).collect(),
            Dtype::Blocks(blocks) => panic!("{blocks:?} is not of safetensors"),
        };
        let mut numbers = vec![7.0];
        to_f32(dtype, &bytes, &mut numbers);
        let expected = values.map(|v| match dtype {
            Dtype::F32 => v,
            Dtype::F16 => half::f16::from_f32(v).to_f32(),
            Dtype::BF16 => half::bf16::from_f32(v).to_f32(),
            Dtype::Blocks(blocks) => panic!("{blocks:?} is not of safetensors"),
        });
        assert_eq!(numbers[0], 7.0, "earlier numbers are kept");
        let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&numbers[1..]), bits(&expected), "{dtype:?}");
        assert_eq!(bytes.len() as u64, dtype.block().1 * values.len() as u64);
    }
}

#[test]
fn a_written_file_is_sorted_and_its_data_begins_at_a_multiple_of_eight() {
    let (a, b) = ([1.0, 2.0], [3.0]);
    let metadata = [("format".to_owned(), "pt".to_owned())];
    let bytes = write(&[("b".to_owned(), vec![1], &b), ("a".to_owned(), vec![1, 2], &a)], &metadata);
    let swapped = write(&[("a".to_owned(), vec![1, 2], &a), ("b".to_owned(), vec![1], &b)], &metadata);
    assert_eq!(bytes, swapped);
    let parsed = parse(&bytes).unwrap();
    assert_eq!(parsed.metadata, metadata);
    assert_eq!(parsed.entries[0].begin % 8, 0);
    assert_eq!(parsed.entries[1].begin, parsed.entries[0].end);
    check_with_oracle(&bytes);
    check_with_oracle(&write(&[], &[]));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_written_file_reads_back(
        tensors in prop::collection::btree_map("\\PC{1,12}", prop::collection::vec(-1e3f32..1e3, 0..20), 0..8),
        metadata in prop::collection::btree_map("\\PC{0,6}", "\\PC{0,6}", 0..3),
    ) {
        let tensors: Vec<(String, Vec<usize>, &[f32])> = tensors
            .iter()
            .filter(|(name, _)| *name != "__metadata__")
            .map(|(name, values)| (name.clone(), vec![values.len()], values.as_slice()))
            .collect();
        let metadata: Vec<_> = metadata.into_iter().collect();
        let bytes = write(&tensors, &metadata);
        check_with_oracle(&bytes);
        let parsed = parse(&bytes).unwrap();
        prop_assert_eq!(&parsed.metadata, &metadata);
        prop_assert_eq!(parsed.entries.len(), tensors.len());
        for (name, _, expected) in &tensors {
            let entry = parsed.get(name).unwrap();
            let mut numbers = Vec::new();
            to_f32(entry.dtype, &bytes[entry.begin as usize..entry.end as usize], &mut numbers);
            prop_assert_eq!(&numbers, expected);
        }
    }

    #[test]
    fn random_bytes_are_refused_or_agree_with_the_crate(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check_with_oracle(&bytes);
        check_with_oracle(&file(&String::from_utf8_lossy(&bytes), bytes.len()));
    }

    #[test]
    fn damaged_files_are_refused_or_agree_with_the_crate(
        cut in 0usize..400, at in 0usize..300, byte in any::<u8>(), shape in prop::collection::vec(0usize..4, 0..4),
    ) {
        let numbers = vec![1.5; shape.iter().product()];
        let tensors = [("x.weight".to_owned(), shape, &numbers[..]), ("y".to_owned(), vec![3], &[1.0, 2.0, 3.0])];
        let bytes = write(&tensors, &[("format".into(), "pt".into())]);
        let truncated = &bytes[..cut.min(bytes.len())];
        prop_assert_eq!(parse(truncated).is_ok(), truncated.len() == bytes.len());
        let mut flipped = bytes.clone();
        let at = at % flipped.len();
        flipped[at] = byte;
        check_with_oracle(&flipped);
    }

    #[test]
    fn random_layouts_agree_with_the_crate(
        tensors in prop::collection::vec((
            "[ab]",
            prop::sample::select(vec!["F32", "F16", "BF16", "F64", "BOOL", "I16", "U64", "F8_E4M3"]),
            prop::collection::vec(0u64..3, 0..3),
            0u64..12,
            0u64..12,
        ), 0..3),
        data in 0usize..24,
    ) {
        let fields: Vec<String> = tensors.iter().map(|(name, dtype, shape, begin, end)| {
            format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{begin},{end}]}}"#)
        }).collect();
        check_with_oracle(&file(&format!("{{{}}}", fields.join(",")), data));
    }
}
