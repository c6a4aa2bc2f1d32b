def is_prepared(name, dir=None):
  return False
def listing(dir=None):
  return []
