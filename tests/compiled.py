"""How tests of exact bits compile, where conftest's flags would give other code than a run's."""

FUSED = {"xla_cpu_use_fusion_emitters": True}              # fused as in a run
IN_A_RUN = {"xla_backend_optimization_level": 3, **FUSED}  # and optimized
