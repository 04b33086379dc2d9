"""A test format for machines that are meant to run every test. lit hands it to its workers, for which it must
be in a module of its own."""

import lit.formats
import lit.Test


class NoSkip(lit.formats.ShTest):
    """Fails what lit would skip."""

    def execute(self, test, config):
        result = super().execute(test, config)
        if result.code is not lit.Test.UNSUPPORTED:
            return result
        return lit.Test.Result(lit.Test.FAIL, "no_skip is set, but the test was skipped: " + result.output)
