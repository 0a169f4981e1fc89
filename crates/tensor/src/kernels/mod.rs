//! The kernels under the operations: one line for each, and the only place that chooses which
//! processor runs it.
//!
//! Nothing above knows of a processor: operations, tensors, parameters and the backward pass call
//! the functions named here, with tensors, targets and what [`args`] holds. A kernel that only the
//! processor's cores have serves every device: it reads and writes the host's copies of buffers.

pub(crate) mod args;

pub(crate) mod attention {
    pub(crate) use crate::cpu::attention::{backward, backward_packed, forward};
}
pub(crate) mod conv {
    pub(crate) use crate::cpu::conv::{forward, input_gradient, weight_gradient};
}
pub(crate) mod copy {
    pub(crate) use crate::cpu::copy::{accumulate, contiguous, convert, embed, place};
}
pub(crate) mod cross_entropy {
    pub(crate) use crate::cpu::cross_entropy::{losses, slopes};
    pub(crate) use crate::cpu::cross_entropy_linear::{head, head_bytes, multiply};
}
pub(crate) mod dropout {
    pub(crate) use crate::cpu::dropout::dropout;
}
pub(crate) mod finite {
    pub(crate) use crate::cpu::finite::first_non_finite;
}
pub(crate) mod index {
    pub(crate) use crate::cpu::index::{add_taken, checked, take};
}
pub(crate) mod lines {
    pub(crate) use crate::cpu::lines::{first_best, gather, scatter_add, select, zip};
}
pub(crate) mod map {
    pub(crate) use crate::cpu::map::map;
    pub(crate) use crate::cpu::pair::map_pair;
}
pub(crate) mod matmul {
    pub use crate::cpu::gemm::{Bf16Kernel, bf16_kernel, check_bf16_kernel};
    pub(crate) use crate::cpu::matmul::{biased_product, grams, products, products_into};
}
pub(crate) mod norm {
    pub(crate) use crate::cpu::norm::{add_up, backward, forward};
}
pub(crate) mod one_hot {
    pub(crate) use crate::cpu::one_hot::{add_to_columns, sum_columns};
}
pub(crate) mod planes {
    pub(crate) use crate::cpu::planes::{affine, combine, moments, products};
}
pub(crate) mod pool {
    pub(crate) use crate::cpu::pool::{max, spread};
}
pub(crate) mod quantized {
    pub(crate) use crate::cpu::quantized::{
        dequantize, first_non_finite, product, product_into, take,
    };
}
pub(crate) mod reduce {
    pub(crate) use crate::cpu::reduce::{squares_of, sum_middle, sum_of_rows, sum_of_squares};
}
pub(crate) mod row_products {
    pub(crate) use crate::cpu::row_products::{forward, rows_gradient};
}
pub(crate) mod rotary {
    pub(crate) use crate::cpu::rotary::rotate;
}
pub(crate) mod separable {
    pub(crate) use crate::cpu::separable::apply;
}
pub(crate) mod softmax {
    pub(crate) use crate::cpu::softmax::rows;
}
pub(crate) mod update {
    pub use crate::cpu::update::{MAX_SLOTS, Memory, Reduce, Run, Runs, STATE_BLOCK, StateArena};
    pub use crate::cpu::update::{
        StateKind, TableRows, Trained, Update, Wrap, Wrapping, apply, reduce,
    };
    pub use crate::cpu::update::{reduce_all, reduce_each, update, update_each, update_rows};
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    fn sources(folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
        folders.iter().flat_map(|folder| sources(folder)).chain(files).collect()
    }

    #[test]
    fn only_the_facade_names_a_processor() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let knows = |path: &PathBuf| {
            path.starts_with(root.join("cpu")) || path.starts_with(root.join("kernels"))
        };
        let files = sources(&root);
        assert!(files.iter().any(knows) && files.len() > 80, "{}", files.len());
        for file in files.iter().filter(|path| !knows(path)) {
            let text = std::fs::read_to_string(file).unwrap();
            let names = text.lines().find(|line| line.contains("cpu::") || line.contains("::cpu"));
            assert_eq!(names, None, "{} names a processor's kernel", file.display());
        }
    }
}
