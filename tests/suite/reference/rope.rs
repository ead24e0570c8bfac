//! Rotary position embedding (Su et al. 2021, "RoFormer", equation 34) with the pairs (i, i + D/2) of transformers'
//! `rotate_half`.

/// Cosine and sine of every angle, each [context, D/2].
pub struct RopeTables {
    pub cos: Vec<f64>,
    pub sin: Vec<f64>,
}

/// angle[t, i] = t · theta^(-2i/D).
///
/// transformers computes all of it in f32, and at position 1,000 the rounding of the frequency alone moves an angle by
/// 6e-5. So the exponent, the power, its inverse, the angle, the cosine and the sine are each rounded to f32 here too.
pub fn rope_tables(context: usize, d: usize, theta: f64) -> RopeTables {
    let mut tables = RopeTables { cos: vec![], sin: vec![] };
    for t in 0..context {
        for i in 0..d / 2 {
            let exponent = (2 * i) as f32 / d as f32;
            let inv_freq = 1.0 / theta.powf(f64::from(exponent)) as f32;
            let angle = f64::from(t as f32 * inv_freq);
            tables.cos.push(f64::from(angle.cos() as f32));
            tables.sin.push(f64::from(angle.sin() as f32));
        }
    }
    tables
}

/// For each row, head and i < D/2, with the angle of the row's position:
/// y[i] = x[i] cos - x[i + D/2] sin, y[i + D/2] = x[i + D/2] cos + x[i] sin. x and y are [rows, H, D].
pub fn rope_forward(x: &[f64], tables: &RopeTables, positions: &[usize], h: usize, d: usize) -> Vec<f64> {
    rotate(x, tables, positions, h, d, 1.0)
}

/// The inverse rotation: the same with the sign of the sine flipped.
pub fn rope_backward(dy: &[f64], tables: &RopeTables, positions: &[usize], h: usize, d: usize) -> Vec<f64> {
    rotate(dy, tables, positions, h, d, -1.0)
}

fn rotate(x: &[f64], tables: &RopeTables, positions: &[usize], h: usize, d: usize, sign: f64) -> Vec<f64> {
    let half = d / 2;
    let mut y = vec![0.0; x.len()];
    for (row, position) in positions.iter().enumerate() {
        for head in 0..h {
            for i in 0..half {
                let cos = tables.cos[position * half + i];
                let sin = tables.sin[position * half + i] * sign;
                let low = (row * h + head) * d + i;
                let high = low + half;
                y[low] = x[low] * cos - x[high] * sin;
                y[high] = x[high] * cos + x[low] * sin;
            }
        }
    }
    y
}
