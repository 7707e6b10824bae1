use super::*;
use proptest::prelude::*;

/// A type, Fortran order, shape, item size; the header as `numpy.save` wrote it, without the
/// spaces at its end; and its whole length.
type Case = (
    &'static str,
    bool,
    &'static [u64],
    u64,
    &'static [u8],
    usize,
);

#[rustfmt::skip]
const NUMPY: &[Case] = &[
        ("<f8", false, &[3, 4], 8, b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }", 128),
        ("<i4", true, &[3, 4], 4, b"\x93NUMPY\x01\x00v\x00{'descr': '<i4', 'fortran_order': True, 'shape': (3, 4), }", 128),
        ("<u2", false, &[], 2, b"\x93NUMPY\x01\x00v\x00{'descr': '<u2', 'fortran_order': False, 'shape': (), }", 128),
        (">f4", false, &[0, 5], 4, b"\x93NUMPY\x01\x00v\x00{'descr': '>f4', 'fortran_order': False, 'shape': (0, 5), }", 128),
        ("|b1", false, &[10], 1, b"\x93NUMPY\x01\x00v\x00{'descr': '|b1', 'fortran_order': False, 'shape': (10,), }", 128),
        ("<M8[ns]", false, &[2], 8, b"\x93NUMPY\x01\x00v\x00{'descr': '<M8[ns]', 'fortran_order': False, 'shape': (2,), }", 128),
        ("<U7", false, &[2], 28, b"\x93NUMPY\x01\x00v\x00{'descr': '<U7', 'fortran_order': False, 'shape': (2,), }", 128),
        ("|S3", false, &[2], 3, b"\x93NUMPY\x01\x00v\x00{'descr': '|S3', 'fortran_order': False, 'shape': (2,), }", 128),
        ("[('a', '<i4'), ('b', '<f8', (2, 3))]", false, &[2], 52, b"\x93NUMPY\x01\x00v\x00{'descr': [('a', '<i4'), ('b', '<f8', (2, 3))], 'fortran_order': False, 'shape': (2,), }", 128),
        ("[('a', '|u1'), ('', '|V7'), ('b', '<f8')]", false, &[2], 16, b"\x93NUMPY\x01\x00v\x00{'descr': [('a', '|u1'), ('', '|V7'), ('b', '<f8')], 'fortran_order': False, 'shape': (2,), }", 128),
        ("[(('t\u{ef}tle', 'n'), '<i2')]", false, &[1], 2, b"\x93NUMPY\x01\x00v\x00{'descr': [(('t\xeftle', 'n'), '<i2')], 'fortran_order': False, 'shape': (1,), }", 128),
        ("[('\u{3b1}', '<f4'), (\"it's\", '<f4')]", false, &[3], 8, b"\x93NUMPY\x03\x00t\x00\x00\x00{'descr': [('\xce\xb1', '<f4'), (\x22it's\x22, '<f4')], 'fortran_order': False, 'shape': (3,), }", 128),
        ("<c16", false, &[1, 2, 3, 4, 5], 16, b"\x93NUMPY\x01\x00v\x00{'descr': '<c16', 'fortran_order': False, 'shape': (1, 2, 3, 4, 5), }", 128),
        ("[('o', [('i', '<i8'), ('j', '|S1')])]", false, &[3], 9, b"\x93NUMPY\x01\x00v\x00{'descr': [('o', [('i', '<i8'), ('j', '|S1')])], 'fortran_order': False, 'shape': (3,), }", 128),
];

fn numpy(text: &[u8], len: usize) -> Vec<u8> {
    let mut header = text.to_vec();
    header.resize(len - 1, b' ');
    header.push(b'\n');
    header
}

fn file(header: Vec<u8>, data: u64) -> Vec<u8> {
    let mut file = header;
    file.resize(file.len() + usize::try_from(data).unwrap(), 0xaa);
    file
}

#[test]
fn headers_are_those_of_numpy() {
    for (descr, fortran, shape, item, text, len) in NUMPY {
        let plan = NpyPlan::new(descr, *fortran, shape).unwrap();
        assert_eq!(plan.header(), numpy(text, *len), "{descr}");
        assert_eq!(
            plan.nbytes(),
            item * shape.iter().product::<u64>(),
            "{descr}"
        );
    }
}

#[test]
fn headers_of_numpy_are_read() {
    for (descr, fortran, shape, item, text, len) in NUMPY {
        let nbytes = item * shape.iter().product::<u64>();
        let npy = Npy::open(&file(numpy(text, *len), nbytes)).unwrap();
        assert_eq!(npy.descr().replace("\\'", "'"), descr.replace('"', "'"));
        assert_eq!((npy.item_size(), npy.fortran_order()), (*item, *fortran));
        assert_eq!((npy.shape(), npy.nbytes()), (*shape, nbytes));
        assert_eq!(npy.data_at(), *len as u64);
        if nbytes > 0 {
            let short = file(numpy(text, *len), nbytes - 1);
            assert!(Npy::open(&short).is_err(), "{descr}: data are missing");
        }
        // A trailer may follow.
        assert!(Npy::open(&file(numpy(text, *len), nbytes + 20)).is_ok());
    }
}

#[test]
fn long_headers_take_version_2() {
    let fields: Vec<String> = (0..5000).map(|i| format!("('field{i}', '<f8')")).collect();
    let descr = format!("[{}]", fields.join(", "));
    let plan = NpyPlan::new(&descr, false, &[2]).unwrap();
    assert_eq!(plan.header()[6..8], [2, 0]);
    assert_eq!(plan.header().len() % 64, 0);
    let mut bytes = Vec::new();
    plan.write(&vec![1; 80_000], &mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, plan.size());
    let npy = Npy::open(&bytes).unwrap();
    assert_eq!((npy.descr(), npy.item_size()), (descr.as_str(), 40_000));
}

#[test]
fn objects_are_refused() {
    for descr in ["|O", "O", "[('a', '<i4'), ('b', '|O')]", "('|O', (2,))"] {
        let error = NpyPlan::new(descr, false, &[1]).unwrap_err();
        assert!(error.to_string().contains("Python objects"), "{error}");
    }
}

#[test]
fn what_is_no_header_is_an_error() {
    let good = "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }";
    let open = |dict: &str, major: u8| {
        let mut header = MAGIC.to_vec();
        header.extend_from_slice(&[major, 0]);
        header.extend_from_slice(&u16::try_from(dict.len()).unwrap().to_le_bytes());
        if major > 1 {
            header.extend_from_slice(&[0, 0]);
        }
        header.extend_from_slice(dict.as_bytes());
        Npy::open(&file(header, 64))
    };
    for major in 1..=3 {
        assert_eq!(open(good, major).unwrap().shape(), [2]);
    }
    assert!(open(good, 4).is_err());
    for bad in [
        "",
        "{}",
        "[]",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), } x",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (2), }",
        "{'descr': '<f8', 'fortran_order': 0, 'shape': (2,), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-2,), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (2.0,), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), 'more': 1}",
        "{'descr': '<f8', 'descr': '<f8', 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '<f3', 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '', 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '\u{e9}8', 'fortran_order': False, 'shape': (2,)}",
        "{'descr': 'M8[n\\'s]', 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (0, 18446744073709551615, 9)}",
        "{'descr': [('a', '<i8', 9223372036854775807)], 'fortran_order': False, 'shape': ()}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (9,)}",
        "{'descr': '<f8, 'fortran_order': False, 'shape': (1,)}",
        "((((((((((((((((((((((((((((((((((((((((((((((((",
    ] {
        let error = open(bad, 1).expect_err(bad);
        assert!(!error.to_string().ends_with('.'), "{error}");
    }
}

proptest! {
    #[test]
    fn any_shape_comes_back(shape in prop::collection::vec(0_u64..40, 0..5), fortran: bool) {
        let plan = NpyPlan::new("<i2", fortran, &shape).unwrap();
        let bytes = file(plan.header().to_vec(), plan.nbytes());
        let npy = Npy::open(&bytes).unwrap();
        prop_assert_eq!(npy.shape(), shape.as_slice());
        prop_assert_eq!(npy.fortran_order(), fortran);
        prop_assert_eq!(npy.data_at() % 64, 0);
    }

    #[test]
    fn no_header_makes_it_panic(at in 0_usize..128, byte: u8, cut in 0_usize..224) {
        let mut bytes = file(NpyPlan::new("<f8", false, &[3, 4]).unwrap().header().to_vec(), 96);
        bytes[at] = byte;
        let _ = Npy::open(&bytes);
        bytes.truncate(cut);
        let _ = Npy::open(&bytes);
    }

    #[test]
    fn no_text_makes_it_panic(text in "[\\[\\](){}'\",:0-9a-zA-Z\\\\ \u{e9}]{0,60}") {
        if let Ok(value) = parse(&text) {
            prop_assert_eq!(parse(&value.to_string()).unwrap(), value);
        }
    }
}
