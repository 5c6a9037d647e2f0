from tests.support.log import *
from tests.support.lives import random_lives
import time
async def test_it(database_url):
    async with open_log(database_url) as log:
        pos = await log.add_lives(random_lives(1, 20))
        t=time.perf_counter()
        await project_all(log, up_to=pos)
        print('took', time.perf_counter()-t, pos)
        await assert_folded(log)
