"""What screening costs beside the inference itself.

The package is not called `screen`: the benches' folder comes first on the path, and would hide the service.
"""
