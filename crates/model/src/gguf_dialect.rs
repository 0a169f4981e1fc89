//! What GGUF files call the parts and options of an architecture.

/// An architecture as GGUF files have it; `files/gguf` reads and writes by it.
#[derive(Debug, Clone, Copy)]
pub struct GgufDialect {
    /// What `general.architecture` is.
    pub name: &'static str,
    /// Keys that only files of this architecture have, where several share the name; without the name before them.
    pub marks: &'static [&'static str],
    /// Keys of the metadata, without the architecture's name before them, and the options of config.json that they are.
    pub keys: &'static [&'static [(&'static str, &'static str)]],
    /// Options that no key says, since readers of GGUF compute by these values alone.
    pub fixed: &'static [(&'static str, bool)],
    /// Parts by the names of parameters, without `.weight` or `.bias`, `*` for a number; the first that fits counts.
    pub names: &'static [&'static [(&'static str, &'static str)]],
    /// All layers have a window but every one of this number, where nothing else is said.
    pub window_period: Option<usize>,
    /// Whether channels of a head that turn together are next to each other, not half a head apart.
    pub interleaved: bool,
    /// Whether 1 is added to the weights of norms.
    pub norms_plus_one: bool,
    /// Whether the matrices of layers are transposed.
    pub transposed: bool,
}

/// The keys that all decoders with rotary positions have.
const KEYS: &[(&str, &str)] = &[
    ("context_length", "max_position_embeddings"),
    ("embedding_length", "hidden_size"),
    ("block_count", "num_hidden_layers"),
    ("feed_forward_length", "intermediate_size"),
    ("attention.head_count", "num_attention_heads"),
    ("attention.head_count_kv", "num_key_value_heads"),
    ("attention.layer_norm_rms_epsilon", "rms_norm_eps"),
    ("rope.freq_base", "rope_theta"),
];

/// Those of mixtures of experts.
const EXPERTS: &[(&str, &str)] =
    &[("expert_count", "num_experts"), ("expert_used_count", "num_experts_per_tok")];

const WINDOW: (&str, &str) = ("attention.sliding_window", "sliding_window");
const SOFTCAPS: &[(&str, &str)] = &[
    ("attn_logit_softcapping", "attn_logit_softcapping"),
    ("final_logit_softcapping", "final_logit_softcapping"),
];

/// Parts that all decoders have.
const NAMES: &[(&str, &str)] = &[
    ("model.embed_tokens", "token_embd"),
    ("model.norm", "output_norm"),
    ("lm_head", "output"),
    ("model.layers.*.input_layernorm", "blk.*.attn_norm"),
    ("model.layers.*.post_attention_layernorm", "blk.*.ffn_norm"),
    ("model.layers.*.self_attn.q_proj", "blk.*.attn_q"),
    ("model.layers.*.self_attn.k_proj", "blk.*.attn_k"),
    ("model.layers.*.self_attn.v_proj", "blk.*.attn_v"),
    ("model.layers.*.self_attn.o_proj", "blk.*.attn_output"),
    ("model.layers.*.self_attn.q_norm", "blk.*.attn_q_norm"),
    ("model.layers.*.self_attn.k_norm", "blk.*.attn_k_norm"),
    ("model.layers.*.mlp.gate_proj", "blk.*.ffn_gate"),
    ("model.layers.*.mlp.up_proj", "blk.*.ffn_up"),
    ("model.layers.*.mlp.down_proj", "blk.*.ffn_down"),
];

/// Norms on what attention and the MLP add, which are not where others have theirs.
const NORMS_AFTER: &[(&str, &str)] = &[
    ("model.layers.*.post_attention_layernorm", "blk.*.post_attention_norm"),
    ("model.layers.*.pre_feedforward_layernorm", "blk.*.ffn_norm"),
    ("model.layers.*.post_feedforward_layernorm", "blk.*.post_ffw_norm"),
];

/// The second number is the expert's, whose matrix is a part of one tensor.
const EXPERT_NAMES: &[(&str, &str)] = &[
    ("model.layers.*.mlp.gate", "blk.*.ffn_gate_inp"),
    ("model.layers.*.mlp.experts.*.gate_proj", "blk.*.ffn_gate_exps"),
    ("model.layers.*.mlp.experts.*.up_proj", "blk.*.ffn_up_exps"),
    ("model.layers.*.mlp.experts.*.down_proj", "blk.*.ffn_down_exps"),
];

impl GgufDialect {
    /// That of a decoder without anything special.
    const fn decoder(name: &'static str) -> Self {
        Self {
            name,
            marks: &[],
            keys: &[KEYS],
            fixed: &[],
            names: &[NAMES],
            window_period: None,
            interleaved: false,
            norms_plus_one: false,
            transposed: false,
        }
    }

    pub(crate) const LLAMA: Self = Self { interleaved: true, ..Self::decoder("llama") };
    pub(crate) const MISTRAL: Self =
        Self { marks: &["attention.sliding_window"], keys: &[KEYS, &[WINDOW]], ..Self::LLAMA };
    pub(crate) const MIXTRAL: Self = Self {
        marks: &["expert_count"],
        keys: &[
            KEYS,
            &[WINDOW],
            &[("expert_count", "num_local_experts"), ("expert_used_count", "num_experts_per_tok")],
        ],
        names: &[
            &[
                ("model.layers.*.block_sparse_moe.gate", "blk.*.ffn_gate_inp"),
                ("model.layers.*.block_sparse_moe.experts.*.w1", "blk.*.ffn_gate_exps"),
                ("model.layers.*.block_sparse_moe.experts.*.w3", "blk.*.ffn_up_exps"),
                ("model.layers.*.block_sparse_moe.experts.*.w2", "blk.*.ffn_down_exps"),
            ],
            NAMES,
        ],
        ..Self::LLAMA
    };
    pub(crate) const SMOLLM3: Self = Self { name: "smollm3", ..Self::LLAMA };
    pub(crate) const QWEN2: Self = Self::decoder("qwen2");
    pub(crate) const QWEN3: Self = Self::decoder("qwen3");
    pub(crate) const QWEN3_MOE: Self = Self {
        keys: &[KEYS, EXPERTS, &[("expert_feed_forward_length", "moe_intermediate_size")]],
        fixed: &[("norm_topk_prob", true)],
        names: &[EXPERT_NAMES, NAMES],
        ..Self::decoder("qwen3moe")
    };
    pub(crate) const OLMOE: Self = Self {
        keys: &[KEYS, EXPERTS, &[("attention.clamp_kqv", "clip_qkv")]],
        fixed: &[("norm_topk_prob", false)],
        names: &[EXPERT_NAMES, NAMES],
        ..Self::decoder("olmoe")
    };
    pub(crate) const OLMO2: Self = Self { names: &[NORMS_AFTER, NAMES], ..Self::decoder("olmo2") };
    pub(crate) const OLMO3: Self = Self {
        marks: &["attention.sliding_window"],
        keys: &[KEYS, &[WINDOW]],
        window_period: Some(4),
        ..Self::OLMO2
    };
    pub(crate) const GEMMA2: Self = Self {
        keys: &[KEYS, &[WINDOW], SOFTCAPS],
        names: &[NORMS_AFTER, NAMES],
        window_period: Some(2),
        norms_plus_one: true,
        ..Self::decoder("gemma2")
    };
    pub(crate) const GEMMA3: Self = Self {
        keys: &[
            KEYS,
            &[WINDOW, ("rope.freq_base_swa", "rope_local_base_freq")],
            &[("final_logit_softcapping", "final_logit_softcapping")],
        ],
        name: "gemma3",
        window_period: Some(6),
        ..Self::GEMMA2
    };
    pub(crate) const PHI3: Self = Self {
        keys: &[
            KEYS,
            &[WINDOW, ("rope.scaling.original_context_length", "original_max_position_embeddings")],
        ],
        names: &[
            &[
                ("model.layers.*.self_attn.qkv_proj", "blk.*.attn_qkv"),
                ("model.layers.*.mlp.gate_up_proj", "blk.*.ffn_up"),
            ],
            NAMES,
        ],
        ..Self::decoder("phi3")
    };
    pub(crate) const GPT2: Self = Self {
        keys: &[&[
            ("context_length", "n_positions"),
            ("embedding_length", "n_embd"),
            ("block_count", "n_layer"),
            ("feed_forward_length", "n_inner"),
            ("attention.head_count", "n_head"),
            ("attention.layer_norm_epsilon", "layer_norm_epsilon"),
        ]],
        names: &[&[
            ("transformer.wte", "token_embd"),
            ("transformer.wpe", "position_embd"),
            ("transformer.ln_f", "output_norm"),
            ("lm_head", "output"),
            ("transformer.h.*.ln_1", "blk.*.attn_norm"),
            ("transformer.h.*.attn.c_attn", "blk.*.attn_qkv"),
            ("transformer.h.*.attn.c_proj", "blk.*.attn_output"),
            ("transformer.h.*.ln_2", "blk.*.ffn_norm"),
            ("transformer.h.*.mlp.c_fc", "blk.*.ffn_up"),
            ("transformer.h.*.mlp.c_proj", "blk.*.ffn_down"),
        ]],
        transposed: true,
        ..Self::decoder("gpt2")
    };
}
