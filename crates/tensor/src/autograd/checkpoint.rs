//! Trading time for memory: recompute instead of keeping.

use super::{is_recording, touching, with_recording};
use crate::precision::{matmul_precision, with_matmul_precision};
use crate::tensor::Tensor;

/// `f(inputs)`, keeping only the inputs: the backward pass runs `f` again to have what it needs.
///
/// `f` must be a pure function of its inputs and of parameters. Random operations are, as they
/// take an explicit [`Key`](crate::Key): dropout draws the same mask again.
///
/// ```
/// use rappel_tensor::{DType, Tensor, checkpoint};
/// let x = Tensor::full([2], 2.0, DType::F64).requires_grad();
/// let y = checkpoint(&[&x], |x| (&x[0] * &x[0]).exp());
/// let grads = y.sum().backward();
/// assert_eq!(grads.of(&x).unwrap().to_vec::<f64>()[0], 4.0 * 4.0_f64.exp());
/// ```
#[track_caller]
pub fn checkpoint(inputs: &[&Tensor], f: impl Fn(&[Tensor]) -> Tensor + Send + 'static) -> Tensor {
    let plain: Vec<Tensor> = inputs.iter().map(|input| input.detach()).collect();
    let (output, touched) = touching(|| f(&plain));
    let output = output.detach();
    let wanted = touched.len() + inputs.iter().filter(|input| input.needs_grad()).count();
    if !is_recording() || wanted == 0 {
        return output;
    }
    let nodes = inputs.iter().map(|input| input.node.clone());
    let nodes: Vec<_> = nodes.chain(touched.into_iter().map(Some)).collect();
    let wants: Vec<bool> = inputs.iter().map(|input| input.needs_grad()).collect();
    let precision = matmul_precision();
    output.record_nodes(nodes, move |grad, sink| {
        let leaves: Vec<Tensor> = plain
            .into_iter()
            .zip(wants)
            .map(|(input, wanted)| if wanted { input.requires_grad() } else { input })
            .collect();
        let again = with_matmul_precision(precision, || with_recording(true, || f(&leaves)));
        let grads = sink.nested(&again, grad, &leaves);
        for (i, grad) in grads.into_iter().enumerate() {
            if let Some(grad) = grad {
                sink.add(i, || grad);
            }
        }
    })
}
