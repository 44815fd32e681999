import asyncio, sys
import pytest
from tests.integration.apis import api_settings, Harness
import io
@pytest.mark.parametrize("n", range(12))
async def test_x(api_settings, pool, n):
    for i in range(8):
        h=Harness(api_settings,pool)
        parts,addr=await h.start()
        await asyncio.sleep(0.003*i*(n%4))
        t=asyncio.create_task(h.stop())
        done,_=await asyncio.wait({t},timeout=8)
        if not done:
            for task in asyncio.all_tasks():
                f=io.StringIO(); task.print_stack(file=f); print(f.getvalue())
                c=task.get_coro(); chain=[]
                while c is not None:
                    chain.append(str(getattr(c,'cr_code',None) or getattr(c,'ag_code',None) or c)[:150])
                    c=getattr(c,'cr_await',None) or getattr(c,'ag_await',None) or getattr(c,'gi_yieldfrom',None)
                print("CHAIN",task.get_name(),chain)
            pytest.exit("hung")
