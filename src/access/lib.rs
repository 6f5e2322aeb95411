//! Access rules: expressions in CEL that say who may do what with which document, compiled once,
//! with a bounded cost. Pure: what a rule needs of other documents is handed in.
