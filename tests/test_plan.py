"""What a step would cost: the shapes of slices, what moves between devices, and a plan beside what is really held."""

import jax
import numpy as np
import pytest
from runs import tiny

from sslx import errors, mesh, optim, plan, train

HLO = """
  %a = f32[128,64]{1,0} all-reduce(%p), channel_id=1, replica_groups={{0,1,2,3},{4,5,6,7}}, to_apply=%add
  %b = (f32[10]{0}, /*index=1*/bf16[20]{0}) all-reduce(%p, %q), replica_groups=[1,8]<=[8], to_apply=%add
  %c = f32[8,16]{1,0} all-gather(%x), replica_groups=mesh['axis_0'=2,'axis_1'=4] {'axis_1'}, dimensions={0}
  %d = (f32[2,16]{1,0}, f32[8,16]{1,0}) all-gather-start(%x), replica_groups=[2,4]<=[8], dimensions={0}
  %e = f32[2,16]{1,0} reduce-scatter(%x), replica_groups=[2,4]<=[8], dimensions={0}
  %h = ((f32[1,4]{1,0}, f32[1,8]{1,0}), (f32[8,4]{1,0}, f32[8,8]{1,0})) all-gather-start(%x), replica_groups=[1,8]<=[8]
  %i = f8e4m3fn[128]{0} collective-permute(%x), source_target_pairs={{0,1}}
  %f = f32[8,16]{1,0} all-gather-done(%d)
  %g = f32[8,16]{1,0} add(%all-reduce.1, %c)
"""


def test_collectives():
  assert plan.collectives(HLO, 8) == {
      "all-reduce": [2, int(2 * 4 * 128 * 64 * 3 / 4) + int(2 * 80 * 7 / 8)],
      "all-gather": [3, 2 * int(4 * 8 * 16 * 3 / 4) + int(4 * 8 * 12 * 7 / 8)], "collective-permute": [1, 128],
      "reduce-scatter": [1, int(4 * 8 * 16 * 3 / 4)]}


def test_slices():
  assert [plan.wired(n, "2d") for n in (4, 8, 32, 256)] == ["2x2", "2x4", "4x8", "16x16"]
  assert [plan.wired(n, "3d") for n in (4, 8, 32, 64)] == ["2x2x1", "2x2x2", "2x4x4", "4x4x4"]
  with pytest.raises(errors.UsageError, match="not 24"):
    plan.wired(24, "2d")


def test_a_plan_is_what_the_run_holds():
  c = tiny(mesh__data=2, mesh__fsdp=2, mesh__least=1)
  found = plan.plan(c, "cpu")
  method = train.build(c)[1]
  tx = optim.make(c.optim, 12, 32)
  state = train.init_state(method, tx, jax.random.key(0), {"image": np.zeros((1, 8, 8, 1))})
  where = mesh.of(c, state, mesh.arranged(jax.devices()[:4], 2))
  held = mesh.put(state.params, where.params)
  assert found["params"] == sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(held))
  assert found["input"] == 8 * 64 and found["peak"] > found["params"] + found["optimizer"]
  assert found["flops"] > 0 and found["collectives"]["all-reduce"][1] > 0 and found["seconds"] == {}
  least = plan.seconds(found, "h100")
  assert max(least.values()) == pytest.approx(found["bytes"] / 3.35e12)
  assert any(row[0] == "peak memory" for row in plan.rows(found | {"chip": "h100", "seconds": least}))


@pytest.mark.parametrize("changed, chip, says", [
    ({}, "h200", "did you mean h100"), ({"mesh__data": 3}, "cpu", "does not divide over 3"),
    ({"slices": 0}, "cpu", "slices is 0"),
    ({"mesh__data": 16}, "cpu", "16 devices are to be simulated, and there are 8")])
def test_wrong_use(changed, chip, says):
  with pytest.raises(errors.UsageError, match=says):
    plan.plan(tiny(**changed), chip)
