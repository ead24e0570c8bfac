//! y (+)= mask · x / (1 - p), with a mask that is 0 with probability p (Srivastava et al. 2014).

use super::binding::all;
use super::parallel::each_row;
use super::random::{key_of_site, unit};
use super::{Constants, Run};

pub fn twin(constants: &Constants<'_>) -> Run {
    let cols = constants.size("C");
    let accumulate = constants.flag("ACCUMULATE");
    Box::new(move |bound| {
        let [step, site, x, y] = all(bound);
        let step = step.step();
        let key = key_of_site(&step, site.site().site);
        let numbers = step.rows as usize * cols;
        let x = &x.numbers()[..numbers];
        each_row(&mut y.numbers_mut()[..numbers], cols, |row, y| {
            let index = (step.first_row as usize + row) * cols;
            for (i, (y, x)) in y.iter_mut().zip(&x[row * cols..]).enumerate() {
                let dropped = unit(key, (index + i) as u32) < step.dropout;
                let value = if dropped { 0.0 } else { x / (1.0 - step.dropout) };
                *y = if accumulate { *y + value } else { value };
            }
        });
    })
}
