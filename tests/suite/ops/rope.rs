//! `rope` rotates queries and keys in place, and their gradients back in place.

use std::rc::Rc;

use tabtune::device::{Device, Shape};
use tabtune::model::rope::{Rope, RopeScaling};
use tabtune::ops::{Heads, RopeTables, rope};

use super::Bed;
use crate::check::{ONE_FORM, close64, device};
use crate::reference::*;

struct Case {
    heads: Heads,
    /// Of the sequences.
    lengths: &'static [usize],
    position: usize,
}

const fn case(query: usize, key: usize, size: usize, lengths: &'static [usize], position: usize) -> Case {
    Case { heads: Heads { query, key, size }, lengths, position }
}

const CASES: [Case; 8] = [
    case(1, 1, 4, &[1], 0),
    case(1, 1, 4, &[1], 66),
    case(3, 1, 12, &[67], 0),
    case(3, 1, 12, &[7; 2], 5),
    case(4, 2, 36, &[13; 5], 0),
    case(2, 2, 64, &[7], 60),
    case(4, 1, 128, &[3; 3], 0),
    case(2, 1, 36, &[20, 1, 1, 45], 0),
];

fn tables(device: &Rc<Device>, context: usize, d: usize, theta: f64) -> RopeTables {
    let rope = Rope { theta, scaling: RopeScaling::None };
    RopeTables::new(device, context, &rope.frequencies(d), rope.amplitude()).expect("tables")
}

/// `only_queries`: nothing trainable lies upstream of the keys.
async fn turns(device: &Rc<Device>, case: &Case, only_queries: bool) {
    let Case { heads, lengths, position } = *case;
    let (h, kv, d) = (heads.query, heads.key, heads.size);
    let rows = lengths.iter().sum();
    let mut bed = Bed::new(device, &format!("rope {heads:?}, sequences of {lengths:?} from {position}"), (rows, rows));
    bed.cut(lengths);
    bed.step.position = position as u32;
    let tables = tables(device, 67, d, 10_000.0);
    let expected = rope_tables(67, d, 10_000.0);
    let positions: Vec<usize> = bed.places().iter().map(|place| position + place).collect();
    let ((q, q_values), (mut k, k_values)) = (bed.var(h * d), bed.var(kv * d));
    if only_queries {
        k.grad = None;
    }
    let (q, k) = rope(&mut bed.rec, q, k, heads, &tables);
    let ((dq, dq_values), (dk, dk_values)) = (bed.seed(&q), bed.seed(&k));
    bed.changes("q", &q.data, rope_forward(&q_values, &expected, &positions, h, d));
    bed.changes("k", &k.data, rope_forward(&k_values, &expected, &positions, kv, d));
    bed.changes("dq", &dq, rope_backward(&dq_values, &expected, &positions, h, d));
    bed.changes("dk", &dk, rope_backward(&dk_values, &expected, &positions, kv, d));
    bed.check().await;
}

crate::device_tests! {
    /// One shader serves both shapes.
    async fn rope_rotates_and_rotates_back() {
        for shape in ONE_FORM {
            let device = device(shape).await;
            for case in &CASES {
                turns(&device, case, false).await;
            }
            turns(&device, &CASES[3], true).await;
        }
    }

    /// Angles are rounded as in transformers, up to a context of 2,048. With powers kept in f64 they would differ by up
    /// to 1.2e-4.
    async fn rope_tables_equal_their_reference() {
        let device = device(Shape::Direct).await;
        for (d, theta) in [(4, 10_000.0), (12, 10_000.0), (64, 10_000.0), (64, 100_000.0), (128, 500_000.0)] {
            let tables = tables(&device, 2048, d, theta);
            let expected = rope_tables(2048, d, theta);
            for (what, table, expected) in
                [("cosine", &tables.cosine, &expected.cos), ("sine", &tables.sine, &expected.sin)]
            {
                // One row, because the table is dense for any D/2.
                let mut table = table.clone();
                (table.rows, table.cols) = (1, expected.len());
                let found = table.download(&device).await.expect("a table");
                close64(&format!("{what} of D {d}, theta {theta}"), &found, expected, 1e-6);
            }
        }
    }
}
